#include "reference/golden/profile.h"

#include <fmt/format.h>

#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

namespace etalon::golden {
namespace {

using Json = nlohmann::json;

const std::map<std::string, double reference::Profile::*>& Numbers() {
  using P = reference::Profile;
  static const std::map<std::string, double P::*> numbers = {
      {"u", &P::u},
      {"u_acc", &P::u_acc},
      {"exp_ulp", &P::exp_ulp},
      {"exp_ulp_per_x", &P::exp_ulp_per_x},
      {"div_ulp", &P::div_ulp},
      {"rsqrt_ulp", &P::rsqrt_ulp},
      {"tanh_ulp", &P::tanh_ulp},
      {"u_in", &P::u_in},
      {"in_tiny", &P::in_tiny},
      {"in_max", &P::in_max},
      {"u_p", &P::u_p},
      {"u_out", &P::u_out},
      {"tiny", &P::tiny},
      {"angle_rel", &P::angle_rel},
      {"trig_abs", &P::trig_abs},
  };
  return numbers;
}

const std::map<std::string, bool reference::Profile::*>& Flags() {
  using P = reference::Profile;
  static const std::map<std::string, bool P::*> flags = {
      {"fused", &P::fused}, {"f64_norm_sum", &P::f64_norm_sum}};
  return flags;
}

const std::map<std::string, size_t reference::Profile::*>& Counts() {
  using P = reference::Profile;
  static const std::map<std::string, size_t P::*> counts = {
      {"lanes", &P::lanes}, {"kv_chunk", &P::kv_chunk}};
  return counts;
}

class Parser {
 public:
  Parser(const std::string& name, PortProfile& out) : name_(name), out_(out) {}

  Status Field(const std::string& key, const Json& value) {
    if (const auto it = Numbers().find(key); it != Numbers().end()) {
      if (!value.is_number()) return Bad(key, value, "a number");
      const double x = value.get<double>();
      if (!(x >= 0.0) || !std::isfinite(x)) {
        return Bad(key, value, "a finite number >= 0");
      }
      out_.p.*it->second = x;
    } else if (const auto flag = Flags().find(key); flag != Flags().end()) {
      if (!value.is_boolean()) return Bad(key, value, "true or false");
      out_.p.*flag->second = value.get<bool>();
    } else if (const auto count = Counts().find(key); count != Counts().end()) {
      if (!value.is_number_unsigned() || value.get<uint64_t>() > uint64_t{1}
                                                                     << 32) {
        return Bad(key, value, "a count up to 2^32");
      }
      out_.p.*count->second = value.get<size_t>();
    } else if (key == "quantized") {
      return Grade(value);
    } else if (key == "name" || key == "source" || key == "bound_of") {
      if (!value.is_string()) return Bad(key, value, "a text");
      const auto& text = value.get_ref<const std::string&>();
      (key == "name"     ? out_.p.name
       : key == "source" ? out_.source
                         : out_.bound_of) = text;
    } else if (key != "etalon_profile") {
      return BadInput(fmt::format("{}: unknown field \"{}\"", name_, key));
    } else if (!value.is_number_unsigned() || value.get<uint64_t>() != 1) {
      return Bad(key, value, "1");
    }
    return {};
  }

 private:
  Status Grade(const Json& value) {
    using reference::QuantizedGrade;
    if (value == "block") {
      out_.p.quantized = QuantizedGrade::kBlock;
    } else if (value == "sub_block") {
      out_.p.quantized = QuantizedGrade::kSubBlock;
    } else if (value == "element") {
      out_.p.quantized = QuantizedGrade::kElement;
    } else {
      return Bad("quantized", value, "block, sub_block or element");
    }
    return {};
  }
  tl::unexpected<Error> Bad(const std::string& key, const Json& value,
                            std::string_view want) const {
    return BadInput(fmt::format(
        "{}: {} is {}, want {}", name_, key,
        value.dump(-1, ' ', true, Json::error_handler_t::replace), want));
  }

  const std::string& name_;
  PortProfile& out_;
};

}  // namespace

Expected<PortProfile> ParseProfile(std::string_view json,
                                   const std::string& name) {
  const Json root = Json::parse(json, nullptr, false);
  if (!root.is_object()) {
    return BadInput(fmt::format("{}: no JSON object", name));
  }
  PortProfile out;
  Parser parser(name, out);
  for (const auto& [key, value] : root.items()) {
    ETALON_RETURN_IF_ERROR(parser.Field(key, value));
  }
  for (const char* field : {"etalon_profile", "name", "source"}) {
    if (!root.contains(field)) {
      return BadInput(fmt::format("{}: no field \"{}\"", name, field));
    }
  }
  if (out.p.lanes == 0) {
    return BadInput(fmt::format("{}: lanes is 0, want at least 1", name));
  }
  if (out.p.div_ulp > 4.5) {
    return BadInput(fmt::format("{}: div_ulp is {}, want at most 4.5", name,
                                out.p.div_ulp));
  }
  if (!(out.p.u > 0.0)) {
    return BadInput(fmt::format("{}: u is 0, want more", name));
  }
  if (out.bound_of.empty()) out.bound_of = out.p.name;
  return out;
}

const std::vector<ShippedProfile>& ShippedProfiles() {
  static const std::vector<ShippedProfile> profiles = {
#include "embedded_profiles.inc"
  };
  return profiles;
}

Expected<PortProfile> FindShippedProfile(std::string_view name) {
  std::string names;
  for (const ShippedProfile& p : ShippedProfiles()) {
    if (p.name == name) return ParseProfile(p.json, std::string(p.name));
    names += names.empty() ? "" : ", ";
    names += p.name;
  }
  return BadInput(fmt::format("profile \"{}\" is none of {}", name, names));
}

}  // namespace etalon::golden
