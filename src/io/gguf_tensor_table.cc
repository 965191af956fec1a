// Tensor infos and the layout of the data section.
#include <fmt/format.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "io/gguf_parser.h"
#include "io/stored_type.h"
#include "io/untrusted_text.h"

namespace etalon::io {
namespace {

// "tensor[2]"; messages add what is known of it.
std::string At(uint64_t i) { return fmt::format("tensor[{}]", i); }

std::string Named(uint64_t i, const GgufTensor& t) {
  return fmt::format("tensor[{}] \"{}\"", i, Printable(t.name));
}

std::string Truncated(uint64_t i, const char* field, uint64_t pos,
                      uint64_t size) {
  return fmt::format("tensor[{}] {} @{}: truncated, the file ends at byte {}",
                     i, field, pos, size);
}

// a * b fits into 63 bits: later sums of two of them cannot wrap.
bool Multiply(uint64_t a, uint64_t b, uint64_t& product) {
  return !__builtin_mul_overflow(a, b, &product) && product <= INT64_MAX;
}

// The smallest multiple of a power of two at or above x; x <= 2^63.
uint64_t AlignUp(uint64_t x, uint64_t alignment) {
  return (x + alignment - 1) & ~(alignment - 1);
}

}  // namespace

Status GgufParser::TensorInfo(uint64_t i) {
  const uint64_t size = file_.bytes_.size();
  const uint64_t name_pos = cursor_.pos();
  GgufTensor t;
  ETALON_RETURN_IF_ERROR(TensorName(i, t.name));
  const auto earlier = file_.tensor_index_.Insert(
      t.name, i,
      [&](size_t p) -> std::string_view { return file_.tensors_[p].name; });
  if (earlier) {
    return BadInput(fmt::format("{} name @{}: duplicate of tensor[{}]",
                                Named(i, t), name_pos, *earlier));
  }
  ETALON_RETURN_IF_ERROR(TensorDims(i, t));
  const uint64_t type_pos = cursor_.pos();
  if (!cursor_.Read(t.type_id)) {
    return BadInput(Truncated(i, "type", type_pos, size));
  }
  ETALON_RETURN_IF_ERROR(TensorExtent(i, t, type_pos));
  const uint64_t offset_pos = cursor_.pos();
  if (!cursor_.Read(t.offset)) {
    return BadInput(Truncated(i, "offset", offset_pos, size));
  }
  if (t.offset % file_.alignment_ != 0) {
    return BadInput(
        fmt::format("{} offset {} @{}: not a multiple of the "
                    "alignment {}",
                    Named(i, t), t.offset, offset_pos, file_.alignment_));
  }
  file_.tensors_.push_back(t);
  return {};
}

Status GgufParser::TensorName(uint64_t i, std::string_view& name) {
  const uint64_t pos = cursor_.pos();
  uint64_t length;
  if (!cursor_.Read(length)) {
    return BadInput(Truncated(i, "name", pos, file_.bytes_.size()));
  }
  if (length == 0) {
    return BadInput(fmt::format("{} name empty @{}: need 1..{} bytes", At(i),
                                pos, kMaxTensorNameBytes));
  }
  if (length > kMaxTensorNameBytes) {
    return BadInput(fmt::format("{} name length {} > {} @{}", At(i), length,
                                kMaxTensorNameBytes, pos));
  }
  if (!cursor_.Take(length, name)) {
    return BadInput(fmt::format("{} name length {} > remaining {} bytes @{}",
                                At(i), length, cursor_.remaining(), pos));
  }
  if (const auto bad = FirstControlByte(name)) {
    return BadInput(fmt::format(
        "{} name has byte 0x{:02X} @{}: control bytes are not allowed", At(i),
        static_cast<uint8_t>(name[*bad]), pos + 8 + *bad));
  }
  if (const auto bad = FirstBadUtf8(name)) {
    return BadInput(fmt::format("{} name not UTF-8: byte 0x{:02X} @{}", At(i),
                                static_cast<uint8_t>(name[*bad]),
                                pos + 8 + *bad));
  }
  return {};
}

Status GgufParser::TensorDims(uint64_t i, GgufTensor& t) {
  const uint64_t pos = cursor_.pos();
  if (!cursor_.Read(t.n_dims)) {
    return BadInput(Truncated(i, "n_dims", pos, file_.bytes_.size()));
  }
  if (t.n_dims < 1 || t.n_dims > t.ne.size()) {
    return BadInput(
        fmt::format("{} n_dims {} @{}: need 1..4", At(i), t.n_dims, pos));
  }
  uint64_t n_elements = 1;
  for (uint32_t d = 0; d < t.n_dims; ++d) {
    const uint64_t ne_pos = cursor_.pos();
    if (!cursor_.Read(t.ne[d])) {
      return BadInput(Truncated(i, fmt::format("ne[{}]", d).c_str(), ne_pos,
                                file_.bytes_.size()));
    }
    if (t.ne[d] == 0) {
      return BadInput(
          fmt::format("{} ne[{}] is 0 @{}: need at least 1", At(i), d, ne_pos));
    }
    if (!Multiply(n_elements, t.ne[d], n_elements)) {
      return BadInput(fmt::format(
          "{} ne[{}] {} @{}: the product of the dimensions overflows 2^63",
          At(i), d, t.ne[d], ne_pos));
    }
  }
  return {};
}

Status GgufParser::TensorExtent(uint64_t i, GgufTensor& t, uint64_t type_pos) {
  const StoredType* type = FindStoredType(t.type_id);
  if (type == nullptr) {
    return BadInput(
        fmt::format("{} type {} unknown @{}", At(i), t.type_id, type_pos));
  }
  if (type->removed()) {
    return BadInput(
        fmt::format("{} type {} removed @{}: {} is no longer part "
                    "of the format",
                    At(i), t.type_id, type_pos, type->name));
  }
  if (t.ne[0] % type->block_size != 0) {
    return BadInput(fmt::format(
        "{} ne[0] % {} is {} @{}: rows of {} are whole blocks of {}, ne[0] is "
        "{}",
        At(i), type->block_size, t.ne[0] % type->block_size,
        type_pos - 8 * t.n_dims, type->name, type->block_size, t.ne[0]));
  }
  uint64_t n_blocks = t.ne[0] / type->block_size;
  for (size_t d = 1; d < t.ne.size(); ++d)
    n_blocks *= t.ne[d];  // <= n_elements
  if (!Multiply(n_blocks, type->block_bytes, t.n_bytes)) {
    return BadInput(
        fmt::format("{} size @{}: {} blocks of {} bytes overflow "
                    "2^63",
                    At(i), type_pos, n_blocks, type->block_bytes));
  }
  return {};
}

Status GgufParser::PlaceTensors() {
  const uint64_t size = file_.bytes_.size();
  std::vector<GgufTensor>& tensors = file_.tensors_;
  uint64_t end = cursor_.pos();  // of what was read so far
  if (!tensors.empty()) {
    const uint64_t data_begin = AlignUp(end, file_.alignment_);
    // In file order; usually that of the table already.
    std::vector<uint32_t> order(tensors.size());
    for (size_t i = 0; i < order.size(); ++i) {
      GgufTensor& t = tensors[i];
      if (data_begin >= size || t.offset >= size - data_begin) {
        return BadInput(fmt::format(
            "{} offset beyond file: {} after the data begins @{}, the file "
            "ends at byte {}",
            Named(i, t), t.offset, data_begin, size));
      }
      t.offset += data_begin;  // < size
      order[i] = static_cast<uint32_t>(i);
    }
    std::sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) {
      return std::pair(tensors[a].offset, a) < std::pair(tensors[b].offset, b);
    });
    end = data_begin;
    for (size_t k = 0; k < order.size(); ++k) {
      GgufTensor& t = tensors[order[k]];
      if (t.offset < end) {
        return BadInput(
            fmt::format("{} @{} overlaps tensor[{}] \"{}\", which ends @{}",
                        Named(order[k], t), t.offset, order[k - 1],
                        Printable(tensors[order[k - 1]].name), end));
      }
      // Writers pad to the alignment and no further: more means that a size
      // or an offset in the table is wrong.
      const uint64_t expected = AlignUp(end, file_.alignment_);
      if (t.offset != expected) {
        return BadInput(fmt::format(
            "gap before {} @{}: {} bytes, the data before it "
            "ends @{}, need @{}",
            Named(order[k], t), t.offset, t.offset - end, end, expected));
      }
      end = t.offset + t.n_bytes;  // < 2^64: both below 2^63
      if (end > size) {
        return BadInput(fmt::format(
            "{} ends past EOF by {}: {} bytes @{}, the file ends at byte {}",
            Named(order[k], t), end - size, t.n_bytes, t.offset, size));
      }
      t.data = file_.bytes_.data() + t.offset;
    }
  }
  if (size - end >= file_.alignment_ || (tensors.empty() && size != end)) {
    ETALON_RETURN_IF_ERROR(NoTensorAfterTheLast());
  }
  if (size - end >= file_.alignment_) {
    file_.warnings_.push_back(fmt::format(
        "{} bytes after the end of the data @{} are ignored", size - end, end));
  }
  return {};
}

// With n_tensors too small, the rest of the table would be taken for padding
// and every tensor's data for bytes that lie before it.
Status GgufParser::NoTensorAfterTheLast() const {
  GgufParser probe(file_.bytes_);
  probe.cursor_ = cursor_;
  probe.file_.alignment_ = file_.alignment_;
  if (!probe.TensorInfo(0)) return {};
  return BadInput(fmt::format(
      "n_tensors @8: {}, but the table goes on with \"{}\" @{}", n_tensors_,
      Printable(probe.file_.tensors_[0].name), cursor_.pos()));
}

}  // namespace etalon::io
