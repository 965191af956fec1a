#ifndef ETALON_VERSION_H_
#define ETALON_VERSION_H_

namespace etalon {
inline constexpr char kVersion[] = "0.1.0";
}

#endif  // ETALON_VERSION_H_
