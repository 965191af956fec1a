#include "reference/golden/safetensors.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>

namespace etalon::golden {
namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kMaxHeader = size_t{64} << 20;
constexpr size_t kMaxRank = 8;

size_t Aligned(size_t n) { return (n + 7) / 8 * 8; }

struct Entry {
  std::string name;
  DType dtype = DType::kF32;
  Shape shape;
  size_t begin = 0;
  size_t end = 0;
};

Expected<Entry> ParseEntry(const std::string& file, const std::string& name,
                           const Json& json, size_t data_size) {
  const auto bad = [&](std::string_view what) {
    return BadInput(fmt::format("{}: tensor \"{}\": {}", file, name, what));
  };
  if (!json.is_object()) return bad("no object");
  const auto dtype = json.find("dtype");
  const auto shape = json.find("shape");
  const auto offsets = json.find("data_offsets");
  if (dtype == json.end() || !dtype->is_string()) return bad("no dtype");
  const auto type = ParseDType(dtype->get_ref<const std::string&>());
  if (!type) {
    return bad(fmt::format("unknown dtype {}", dtype->dump(-1, ' ', true)));
  }
  Entry e{name, *type, {}, 0, 0};
  if (shape == json.end() || !shape->is_array() || shape->size() > kMaxRank) {
    return bad("shape is no array of at most 8 extents");
  }
  size_t size = DTypeSize(*type);
  for (const Json& extent : *shape) {
    if (!extent.is_number_unsigned()) return bad("an extent is no number");
    e.shape.push_back(extent.get<size_t>());
    if (__builtin_mul_overflow(size, e.shape.back(), &size)) {
      return bad("its size overflows");
    }
  }
  if (offsets == json.end() || !offsets->is_array() || offsets->size() != 2 ||
      !(*offsets)[0].is_number_unsigned() ||
      !(*offsets)[1].is_number_unsigned()) {
    return bad("data_offsets is no pair of numbers");
  }
  e.begin = (*offsets)[0].get<size_t>();
  e.end = (*offsets)[1].get<size_t>();
  if (e.begin > e.end || e.end > data_size) {
    return bad(fmt::format("data_offsets [{}, {}] leave the {} bytes of data",
                           e.begin, e.end, data_size));
  }
  if (e.end - e.begin != size) {
    return bad(fmt::format("{} bytes for {} {}", e.end - e.begin,
                           DTypeName(*type), ShapeText(e.shape)));
  }
  return e;
}

}  // namespace

std::vector<std::byte> WriteSafetensors(const TensorFile& file) {
  std::string header = "{";
  size_t at = 0;
  for (const auto& [name, t] : file.tensors) {
    if (header.size() > 1) header += ',';
    header += fmt::format(
        R"({}:{{"dtype":"{}","shape":[{}],"data_offsets":[{},{}]}})",
        Json(name).dump(), DTypeName(t.dtype), fmt::join(t.shape, ","), at,
        at + t.bytes.size());
    at = Aligned(at + t.bytes.size());
  }
  header += '}';
  header.resize(Aligned(header.size()), ' ');
  std::vector<std::byte> bytes(8 + header.size() + at);
  const uint64_t length = header.size();
  std::memcpy(bytes.data(), &length, 8);
  std::memcpy(bytes.data() + 8, header.data(), header.size());
  size_t to = 8 + header.size();
  for (const auto& [name, t] : file.tensors) {
    std::copy(t.bytes.begin(), t.bytes.end(),
              bytes.begin() + static_cast<std::ptrdiff_t>(to));
    to += Aligned(t.bytes.size());
  }
  return bytes;
}

Expected<TensorFile> ReadSafetensors(std::span<const std::byte> bytes,
                                     const std::string& name) {
  uint64_t length = 0;
  if (bytes.size() < 8) {
    return BadInput(
        fmt::format("{}: {} bytes, want at least 8", name, bytes.size()));
  }
  std::memcpy(&length, bytes.data(), 8);
  if (length > bytes.size() - 8 || length > kMaxHeader) {
    return BadInput(fmt::format("{}: header of {} bytes in a file of {}", name,
                                length, bytes.size()));
  }
  const auto* text = reinterpret_cast<const char*>(bytes.data()) + 8;
  const Json json = Json::parse(text, text + length, nullptr, false);
  if (!json.is_object()) {
    return BadInput(fmt::format("{}: the header is no JSON object", name));
  }
  const auto data = bytes.subspan(8 + length);
  std::vector<Entry> entries;
  for (const auto& [key, value] : json.items()) {
    if (key == "__metadata__") continue;
    ETALON_ASSIGN_OR_RETURN(Entry e, ParseEntry(name, key, value, data.size()));
    entries.push_back(std::move(e));
  }
  std::vector<const Entry*> order;
  for (const Entry& e : entries) {
    if (e.begin != e.end) order.push_back(&e);
  }
  std::sort(order.begin(), order.end(),
            [](const Entry* a, const Entry* b) { return a->begin < b->begin; });
  for (size_t i = 1; i < order.size(); ++i) {
    if (order[i]->begin < order[i - 1]->end) {
      return BadInput(fmt::format("{}: tensors \"{}\" and \"{}\" overlap", name,
                                  order[i - 1]->name, order[i]->name));
    }
  }
  TensorFile file;
  for (Entry& e : entries) {
    Tensor t;
    t.dtype = e.dtype;
    t.shape = std::move(e.shape);
    const auto raw = data.subspan(e.begin, e.end - e.begin);
    t.bytes.assign(raw.begin(), raw.end());
    file.Add(std::move(e.name), std::move(t));
  }
  return file;
}

}  // namespace etalon::golden
