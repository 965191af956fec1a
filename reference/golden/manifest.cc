#include "reference/golden/manifest.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "etalon/version.h"

namespace etalon::golden {
namespace {

using Json = nlohmann::ordered_json;

Json ToJson(const Layout& layout) {
  return {{"offset", layout.offset}, {"strides", layout.strides}};
}

Json ToJson(const Recipe& r) {
  Json j = {{"rule", r.rule}, {"stream", r.stream}};
  if (r.times_log2 != 0) j["times_log2"] = r.times_log2;
  if (r.rule == "below") j["n"] = r.n;
  if (r.rule == "iota") j["first"] = r.first;
  if (r.rule == "values") j["bits"] = r.bits;
  if (!r.type.empty()) j["type"] = r.type;
  if (!r.variant.empty()) j["variant"] = r.variant;
  if (!r.patch.empty()) {
    j["patch"] = Json::array();
    for (const auto& [i, bits] : r.patch) j["patch"].push_back({i, bits});
  }
  if (r.poison_axis) {
    j["poison_axis"] = *r.poison_axis;
    j["poison_from"] = r.poison_from;
  }
  return j;
}

Json ToJson(const Input& i) {
  Json j = {
      {"name", i.name}, {"dtype", DTypeName(i.dtype)}, {"shape", i.shape}};
  if (i.layout) j["layout"] = ToJson(*i.layout);
  if (i.recipe) j["recipe"] = ToJson(*i.recipe);
  j["sha256"] = i.sha256;
  return j;
}

Json ToJson(const Output& o) {
  Json j = {
      {"name", o.name}, {"dtype", DTypeName(o.dtype)}, {"shape", o.shape}};
  if (o.layout) j["layout"] = ToJson(*o.layout);
  j["judge"] = JudgeName(o.judge);
  if (!o.bound.empty()) j["bound"] = o.bound;
  if (!o.strict_sha256.empty()) j["strict_sha256"] = o.strict_sha256;
  return j;
}

Json ToJson(const Case& c) {
  Json j = {{"id", c.id},
            {"op", c.op},
            {"kind", KindName(c.kind)},
            {"family", c.family},
            {"seed", c.seed}};
  Json params = Json::object();
  for (const auto& [name, value] : c.params) {
    std::visit([&, &key = name](const auto& v) { params[key] = v; }, value);
  }
  j["params"] = params;
  if (!c.needs.empty()) j["needs"] = c.needs;
  if (c.max_in > 0.0) j["max_in"] = c.max_in;
  if (c.call >= 0) {
    j["layer"] = c.layer;
    j["call"] = c.call;
    j["module"] = c.module;
  }
  if (!c.file_sha256.empty()) j["file_sha256"] = c.file_sha256;
  j["inputs"] = Json::array();
  for (const Input& i : c.inputs) j["inputs"].push_back(ToJson(i));
  j["outputs"] = Json::array();
  for (const Output& o : c.outputs) j["outputs"].push_back(ToJson(o));
  return j;
}

// Reads fields of one object; every field must be known and used.
class Fields {
 public:
  Fields(const Json& json, std::string where)
      : json_(json), where_(std::move(where)) {}

  tl::unexpected<Error> Bad(std::string_view key, std::string_view rule) const {
    const auto it = json_.find(key);
    std::string value =
        it == json_.end()
            ? "missing"
            : it->dump(-1, ' ', true, Json::error_handler_t::replace);
    if (value.size() > 60) value = value.substr(0, 60) + "...";
    return BadInput(
        fmt::format("{}: {} is {}, want {}", where_, key, value, rule));
  }
  bool Has(std::string_view key) const { return json_.contains(key); }
  const Json* Find(std::string_view key) {
    used_.insert(std::string(key));
    const auto it = json_.find(key);
    return it == json_.end() ? nullptr : &*it;
  }
  Status Text(std::string_view key, std::string& out, bool required = true) {
    const Json* v = Find(key);
    if (v == nullptr && !required) return {};
    if (v == nullptr || !v->is_string()) return Bad(key, "a text");
    out = v->get<std::string>();
    return {};
  }
  template <class T>
  Status Unsigned(std::string_view key, T& out, uint64_t max,
                  bool required = true) {
    const Json* v = Find(key);
    if (v == nullptr && !required) return {};
    if (v == nullptr || !v->is_number_unsigned() || v->get<uint64_t>() > max) {
      return Bad(key, fmt::format("a number up to {}", max));
    }
    out = static_cast<T>(v->get<uint64_t>());
    return {};
  }
  template <class T>
  Status Signed(std::string_view key, T& out, int64_t limit) {
    const Json* v = Find(key);
    if (v == nullptr) return {};
    if (!v->is_number_integer() ||
        (v->is_number_unsigned() &&
         v->get<uint64_t>() > static_cast<uint64_t>(limit)) ||
        v->get<int64_t>() < -limit || v->get<int64_t>() > limit) {
      return Bad(key, fmt::format("an integer up to {}", limit));
    }
    out = static_cast<T>(v->get<int64_t>());
    return {};
  }
  Status Sizes(std::string_view key, std::vector<size_t>& out) {
    const Json* v = Find(key);
    if (v == nullptr || !v->is_array() || v->size() > 8) {
      return Bad(key, "an array of at most 8 numbers");
    }
    for (const Json& e : *v) {
      if (!e.is_number_unsigned() || e.get<uint64_t>() >= uint64_t{1} << 40) {
        return Bad(key, "numbers below 2^40");
      }
      out.push_back(e.get<size_t>());
    }
    return {};
  }
  Status Object(std::string_view key, const Json*& out) {
    out = Find(key);
    if (out == nullptr || !out->is_object()) return Bad(key, "an object");
    return {};
  }
  Status Array(std::string_view key, const Json*& out) {
    out = Find(key);
    if (out == nullptr || !out->is_array()) return Bad(key, "an array");
    return {};
  }
  Status NothingElse() const {
    for (const auto& [key, value] : json_.items()) {
      if (!used_.contains(key)) {
        return BadInput(fmt::format("{}: unknown field \"{}\"", where_, key));
      }
    }
    return {};
  }
  const std::string& where() const { return where_; }

 private:
  const Json& json_;
  std::string where_;
  std::set<std::string, std::less<>> used_;
};

// Elements of a tensor, at most 2^28: what a reader is ready to hold.
Status CheckShape(const Fields& f, const Shape& shape) {
  size_t n = 1;
  for (const size_t extent : shape) {
    if (__builtin_mul_overflow(n, extent, &n)) n = size_t{1} << 40;
  }
  if (n > size_t{1} << 28) return f.Bad("shape", "at most 2^28 elements");
  return {};
}

Status ReadLayout(Fields& f, const Shape& shape, std::optional<Layout>& out) {
  if (!f.Has("layout")) return {};
  const Json* json = nullptr;
  ETALON_RETURN_IF_ERROR(f.Object("layout", json));
  Fields l(*json, f.where() + " layout");
  Layout layout;
  ETALON_RETURN_IF_ERROR(
      l.Unsigned("offset", layout.offset, uint64_t{1} << 20));
  ETALON_RETURN_IF_ERROR(l.Sizes("strides", layout.strides));
  ETALON_RETURN_IF_ERROR(l.NothingElse());
  if (layout.strides.size() != shape.size()) {
    return f.Bad("layout", "one stride per axis");
  }
  size_t last = layout.offset;
  for (size_t a = 0; a < shape.size(); ++a) {
    if (shape[a] == 0) continue;
    size_t reach = 0;
    if (__builtin_mul_overflow(layout.strides[a], shape[a] - 1, &reach) ||
        __builtin_add_overflow(last, reach, &last) || last > size_t{1} << 28) {
      return f.Bad("layout", "at most 2^28 elements");
    }
  }
  out = std::move(layout);
  return {};
}

Status ReadRecipe(Fields& f, std::optional<Recipe>& out) {
  if (!f.Has("recipe")) return {};
  const Json* json = nullptr;
  ETALON_RETURN_IF_ERROR(f.Object("recipe", json));
  Fields r(*json, f.where() + " recipe");
  Recipe recipe;
  ETALON_RETURN_IF_ERROR(r.Text("rule", recipe.rule));
  ETALON_RETURN_IF_ERROR(r.Unsigned("stream", recipe.stream, 0xFFFFFFFFu));
  ETALON_RETURN_IF_ERROR(r.Signed("times_log2", recipe.times_log2, 300));
  ETALON_RETURN_IF_ERROR(r.Unsigned("n", recipe.n, 1u << 31, false));
  ETALON_RETURN_IF_ERROR(r.Signed("first", recipe.first, int64_t{1} << 30));
  ETALON_RETURN_IF_ERROR(r.Text("type", recipe.type, false));
  ETALON_RETURN_IF_ERROR(r.Text("variant", recipe.variant, false));
  constexpr uint64_t kBits = 0xFFFFFFFFu;
  const auto is_bits = [](const Json& j) {
    return j.is_number_unsigned() && j.get<uint64_t>() <= kBits;
  };
  if (r.Has("bits")) {
    const Json* bits = nullptr;
    ETALON_RETURN_IF_ERROR(r.Array("bits", bits));
    for (const Json& b : *bits) {
      if (!is_bits(b)) return r.Bad("bits", "an array of 32-bit numbers");
      recipe.bits.push_back(b.get<uint32_t>());
    }
  }
  if (r.Has("patch")) {
    const Json* patch = nullptr;
    ETALON_RETURN_IF_ERROR(r.Array("patch", patch));
    for (const Json& p : *patch) {
      if (!p.is_array() || p.size() != 2 || !p[0].is_number_unsigned() ||
          !is_bits(p[1])) {
        return r.Bad("patch", "pairs of an index and 32 bits");
      }
      recipe.patch.emplace_back(p[0].get<size_t>(), p[1].get<uint32_t>());
    }
  }
  if (r.Has("poison_axis")) {
    size_t axis = 0;
    ETALON_RETURN_IF_ERROR(r.Unsigned("poison_axis", axis, 7));
    ETALON_RETURN_IF_ERROR(
        r.Unsigned("poison_from", recipe.poison_from, uint64_t{1} << 40));
    recipe.poison_axis = axis;
  }
  ETALON_RETURN_IF_ERROR(r.NothingElse());
  out = std::move(recipe);
  return {};
}

Status ReadDType(Fields& f, DType& out) {
  std::string name;
  ETALON_RETURN_IF_ERROR(f.Text("dtype", name));
  const auto dtype = ParseDType(name);
  if (!dtype) return f.Bad("dtype", "F64, F32, F16, BF16, I32, I8 or U8");
  out = *dtype;
  return {};
}

Status ReadInput(const Json& json, const std::string& where, Input& out) {
  if (!json.is_object()) return BadInput(where + ": no object");
  Fields f(json, where);
  ETALON_RETURN_IF_ERROR(f.Text("name", out.name));
  ETALON_RETURN_IF_ERROR(ReadDType(f, out.dtype));
  ETALON_RETURN_IF_ERROR(f.Sizes("shape", out.shape));
  ETALON_RETURN_IF_ERROR(CheckShape(f, out.shape));
  ETALON_RETURN_IF_ERROR(ReadLayout(f, out.shape, out.layout));
  ETALON_RETURN_IF_ERROR(ReadRecipe(f, out.recipe));
  ETALON_RETURN_IF_ERROR(f.Text("sha256", out.sha256));
  return f.NothingElse();
}

Status ReadOutput(const Json& json, const std::string& where, Output& out) {
  if (!json.is_object()) return BadInput(where + ": no object");
  Fields f(json, where);
  ETALON_RETURN_IF_ERROR(f.Text("name", out.name));
  ETALON_RETURN_IF_ERROR(ReadDType(f, out.dtype));
  ETALON_RETURN_IF_ERROR(f.Sizes("shape", out.shape));
  ETALON_RETURN_IF_ERROR(CheckShape(f, out.shape));
  ETALON_RETURN_IF_ERROR(ReadLayout(f, out.shape, out.layout));
  std::string judge;
  ETALON_RETURN_IF_ERROR(f.Text("judge", judge));
  const auto parsed = ParseJudge(judge);
  if (!parsed) return f.Bad("judge", "bound, exact, quants, scales or top_k");
  out.judge = *parsed;
  ETALON_RETURN_IF_ERROR(f.Text("bound", out.bound, false));
  ETALON_RETURN_IF_ERROR(f.Text("strict_sha256", out.strict_sha256, false));
  return f.NothingElse();
}

bool ValidId(std::string_view id) {
  if (id.empty() || id.size() > 100 || id.front() == '.') return false;
  return std::all_of(id.begin(), id.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '.' || c == '-';
  });
}

Status ReadParams(Fields& f, Case& out) {
  const Json* params = nullptr;
  ETALON_RETURN_IF_ERROR(f.Object("params", params));
  for (const auto& [key, value] : params->items()) {
    if (value.is_string()) {
      out.params[key] = value.get<std::string>();
    } else if (value.is_number_integer() &&
               !(value.is_number_unsigned() &&
                 value.get<uint64_t>() >= uint64_t{1} << 53)) {
      out.params[key] = value.get<int64_t>();
    } else {
      return f.Bad("params", "integers and texts");
    }
  }
  return {};
}

Status ReadCase(const Json& json, const std::string& where, Case& out) {
  if (!json.is_object()) return BadInput(where + ": no object");
  Fields f(json, where);
  ETALON_RETURN_IF_ERROR(f.Text("id", out.id));
  if (!ValidId(out.id)) return f.Bad("id", "[a-z0-9_.-]+");
  ETALON_RETURN_IF_ERROR(f.Text("op", out.op));
  std::string kind;
  ETALON_RETURN_IF_ERROR(f.Text("kind", kind));
  if (kind == "stored") {
    out.kind = CaseKind::kStored;
  } else if (kind == "generated") {
    out.kind = CaseKind::kGenerated;
  } else if (kind == "procedural") {
    out.kind = CaseKind::kProcedural;
  } else {
    return f.Bad("kind", "stored, generated or procedural");
  }
  ETALON_RETURN_IF_ERROR(f.Text("family", out.family));
  ETALON_RETURN_IF_ERROR(f.Unsigned("seed", out.seed, (uint64_t{1} << 53) - 1));
  ETALON_RETURN_IF_ERROR(ReadParams(f, out));
  if (f.Has("needs")) {
    const Json* needs = nullptr;
    ETALON_RETURN_IF_ERROR(f.Array("needs", needs));
    for (const Json& n : *needs) {
      if (!n.is_string()) return f.Bad("needs", "an array of texts");
      out.needs.push_back(n.get<std::string>());
    }
  }
  if (const Json* max = f.Find("max_in")) {
    if (!max->is_number() || !(max->get<double>() >= 0.0)) {
      return f.Bad("max_in", "a number >= 0");
    }
    out.max_in = max->get<double>();
  }
  ETALON_RETURN_IF_ERROR(f.Signed("layer", out.layer, 1 << 20));
  ETALON_RETURN_IF_ERROR(f.Signed("call", out.call, 1 << 30));
  ETALON_RETURN_IF_ERROR(f.Text("module", out.module, false));
  ETALON_RETURN_IF_ERROR(f.Text("file_sha256", out.file_sha256,
                                out.kind != CaseKind::kProcedural));
  const Json* inputs = nullptr;
  const Json* outputs = nullptr;
  ETALON_RETURN_IF_ERROR(f.Array("inputs", inputs));
  ETALON_RETURN_IF_ERROR(f.Array("outputs", outputs));
  for (size_t i = 0; i < inputs->size(); ++i) {
    ETALON_RETURN_IF_ERROR(ReadInput((*inputs)[i],
                                     fmt::format("{} input {}", where, i),
                                     out.inputs.emplace_back()));
  }
  if (outputs->empty()) return f.Bad("outputs", "at least one");
  for (size_t i = 0; i < outputs->size(); ++i) {
    ETALON_RETURN_IF_ERROR(ReadOutput((*outputs)[i],
                                      fmt::format("{} output {}", where, i),
                                      out.outputs.emplace_back()));
  }
  return f.NothingElse();
}

}  // namespace

std::string WriteManifest(const Manifest& m) {
  std::string text = fmt::format(
      "{{\n\"etalon_pack\": 1,\n\"suite\": {},\n\"generator\": \"etalon {}\","
      "\n\"licence\": \"MIT\",\n\"profiles\": {},\n\"cases\": [\n",
      Json(m.suite).dump(), kVersion, Json(m.profiles).dump());
  for (size_t i = 0; i < m.cases.size(); ++i) {
    text += ToJson(m.cases[i]).dump();
    text += i + 1 < m.cases.size() ? ",\n" : "\n";
  }
  return text + "]\n}\n";
}

Expected<Manifest> ReadManifest(std::string_view json,
                                const std::string& name) {
  const Json root = Json::parse(json, nullptr, false);
  if (!root.is_object()) {
    return BadInput(fmt::format("{}: no JSON object", name));
  }
  Fields f(root, name);
  uint64_t version = 0;
  ETALON_RETURN_IF_ERROR(f.Unsigned("etalon_pack", version, 1u << 30));
  if (version != 1) return f.Bad("etalon_pack", "1");
  Manifest m;
  std::string ignored;
  ETALON_RETURN_IF_ERROR(f.Text("suite", m.suite));
  ETALON_RETURN_IF_ERROR(f.Text("generator", ignored));
  ETALON_RETURN_IF_ERROR(f.Text("licence", ignored));
  const Json* profiles = nullptr;
  ETALON_RETURN_IF_ERROR(f.Array("profiles", profiles));
  for (const Json& p : *profiles) {
    if (!p.is_string()) return f.Bad("profiles", "an array of texts");
    m.profiles.push_back(p.get<std::string>());
  }
  const Json* cases = nullptr;
  ETALON_RETURN_IF_ERROR(f.Array("cases", cases));
  std::set<std::string> ids;
  for (size_t i = 0; i < cases->size(); ++i) {
    const std::string where = fmt::format("{}: case {}", name, i);
    Case c;
    ETALON_RETURN_IF_ERROR(ReadCase((*cases)[i], where, c));
    if (!ids.insert(c.id).second) {
      return BadInput(fmt::format("{}: id \"{}\" is there twice", where, c.id));
    }
    m.cases.push_back(std::move(c));
  }
  ETALON_RETURN_IF_ERROR(f.NothingElse());
  return m;
}

}  // namespace etalon::golden
