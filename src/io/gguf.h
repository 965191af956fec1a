// GGUF v2 and v3 files: metadata, tensor table, tensor data, read in place from
// a mapping. Untrusted bytes: every count, length and product is checked
// before use; strings and arrays are views into the mapping.
#ifndef ETALON_IO_GGUF_H_
#define ETALON_IO_GGUF_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "etalon/status.h"
#include "etalon/types.h"
#include "io/name_index.h"

namespace etalon::io {

// Value types of the metadata section, as numbered by the format.
enum class GgufType : uint32_t {
  kU8 = 0,
  kI8 = 1,
  kU16 = 2,
  kI16 = 3,
  kU32 = 4,
  kI32 = 5,
  kF32 = 6,
  kBool = 7,
  kString = 8,
  kArray = 9,
  kU64 = 10,
  kI64 = 11,
  kF64 = 12,
};
std::string_view GgufTypeName(GgufType type);  // "u32", "string", "array", ...

// The strings of an array, views into the mapping: in the file, each follows
// its length in 8 bytes, so that going through them needs no table.
class GgufStrings {
 public:
  static constexpr size_t kLengthBytes = sizeof(uint64_t);

  class Iterator {
   public:
    using value_type = std::string_view;
    using difference_type = std::ptrdiff_t;

    Iterator() = default;
    explicit Iterator(const std::byte* at) : at_(at) {}
    std::string_view operator*() const {
      uint64_t n;
      std::memcpy(&n, at_, sizeof(n));
      return {reinterpret_cast<const char*>(at_ + kLengthBytes), n};
    }
    Iterator& operator++() {
      at_ += kLengthBytes + (**this).size();
      return *this;
    }
    Iterator operator++(int) {
      const Iterator old = *this;
      ++*this;
      return old;
    }
    bool operator==(const Iterator&) const = default;

   private:
    const std::byte* at_ = nullptr;
  };

  GgufStrings() = default;
  // Precondition: raw is `size` strings, each after its length.
  GgufStrings(std::span<const std::byte> raw, size_t size)
      : raw_(raw), size_(size) {}

  size_t size() const { return size_; }
  Iterator begin() const { return Iterator(raw_.data()); }
  Iterator end() const { return Iterator(raw_.data() + raw_.size()); }

 private:
  std::span<const std::byte> raw_;
  size_t size_ = 0;
};

// Elements of an array value, as they are in the file.
struct GgufArray {
  GgufType element_type = GgufType::kU8;
  uint64_t count = 0;
  std::span<const std::byte> raw;

  // Empty unless the elements are strings.
  GgufStrings strings() const {
    return element_type == GgufType::kString ? GgufStrings(raw, count)
                                             : GgufStrings();
  }

  // Element i widened; precondition: numeric or bool element type, i < count.
  // Integer() saturates what int64 cannot hold.
  double Number(uint64_t i) const;
  int64_t Integer(uint64_t i) const;
};

struct GgufValue {
  GgufType type = GgufType::kU8;
  std::variant<uint64_t, int64_t, double, bool, std::string_view, GgufArray> v;
};

struct GgufKv {
  std::string_view key;
  GgufValue value;
};

struct GgufTensor {
  std::string_view name;
  uint32_t n_dims = 0;
  std::array<uint64_t, 4> ne{1, 1, 1, 1};  // ne[0] is the contiguous dimension
  uint32_t type_id = 0;                    // as in the file
  uint64_t offset = 0;                     // from the start of the file
  uint64_t n_bytes = 0;
  const std::byte* data = nullptr;  // bytes() + offset, n_bytes of them

  // May be a type this engine does not run (I32, IQ types, ...): then
  // FindTypeTraits() is null; StoredTypeName(type_id) names it.
  TensorType type() const { return static_cast<TensorType>(type_id); }
};

class GgufFile {
 public:
  // Maps the file. Errors name the field, its index or byte offset, the value
  // and the rule: "kv[20] key @8123: length 65536 > 65535".
  static Expected<GgufFile> Open(const std::string& path);
  // The same checks over bytes in memory, which must outlive the result.
  static Expected<GgufFile> Parse(std::span<const std::byte> bytes);

  GgufFile(GgufFile&&) noexcept;
  GgufFile& operator=(GgufFile&&) noexcept;
  ~GgufFile();

  uint32_t version() const { return version_; }
  uint64_t alignment() const { return alignment_; }
  uint64_t file_size() const { return bytes_.size(); }
  std::span<const std::byte> bytes() const { return bytes_; }
  const std::vector<GgufKv>& kvs() const { return kvs_; }
  const std::vector<GgufTensor>& tensors() const { return tensors_; }
  // Accepted but odd (trailing bytes, ...): one line each.
  const std::vector<std::string>& warnings() const { return warnings_; }

  const GgufValue* Find(std::string_view key) const;  // nullptr if absent
  const GgufTensor* FindTensor(std::string_view name) const;

  // Typed access. A missing key is an error for Get*, the default for Get*Or; a
  // value of another type is an error in both: "llama.block_count type string,
  // need u32". Unsigned getters take any unsigned or non-negative signed width.
  Expected<uint64_t> GetUint(std::string_view key) const;
  Expected<uint64_t> GetUintOr(std::string_view key, uint64_t def) const;
  Expected<float> GetFloat(std::string_view key) const;
  Expected<float> GetFloatOr(std::string_view key, float def) const;
  Expected<bool> GetBoolOr(std::string_view key, bool def) const;
  Expected<std::string_view> GetString(std::string_view key) const;
  Expected<std::string_view> GetStringOr(std::string_view key,
                                         std::string_view def) const;
  // nullptr if absent.
  Expected<const GgufArray*> GetArray(std::string_view key) const;

 private:
  friend class GgufParser;
  struct Mapping;  // owns the mmap; null for Parse()

  GgufFile();

  std::unique_ptr<Mapping> mapping_;
  std::span<const std::byte> bytes_;
  uint32_t version_ = 0;
  uint64_t alignment_ = 32;
  std::vector<GgufKv> kvs_;
  std::vector<GgufTensor> tensors_;
  std::vector<std::string> warnings_;
  NameIndex kv_index_;
  NameIndex tensor_index_;
};

}  // namespace etalon::io

#endif  // ETALON_IO_GGUF_H_
