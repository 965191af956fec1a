#include "reference/golden/judge.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <set>

#include "reference/golden/statistics.h"

namespace etalon::golden {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr double kOverflow = 0x1.ffffffp127;  // rounds to infinity

// err / bound; +Inf for whatever no bound allows. NaN-safe: only what is known
// to be within the bound comes back as <= 1.
double Ratio(double got, double want, double bound) {
  if (std::isnan(want)) return std::isnan(got) ? 0.0 : kInf;
  if (std::isinf(want) || std::isinf(got)) {
    if (!std::isinf(got) || std::signbit(got) != std::signbit(want)) {
      return kInf;
    }
    const bool may_overflow =
        std::isinf(want) || std::abs(want) + bound >= kOverflow;
    return may_overflow ? 0.0 : kInf;
  }
  const double error = std::abs(got - want);
  if (error == 0.0) return 0.0;
  const double ratio = error / bound;
  if (error <= bound) return std::isnan(ratio) ? 0.0 : ratio;
  return ratio > 1.0 ? ratio : kInf;
}

std::string ParamsText(const Case& c) {
  std::string text;
  for (const auto& [name, value] : c.params) {
    if (!text.empty()) text += ' ';
    if (name.ends_with("_bits")) {
      if (const auto f = c.Float(name.substr(0, name.size() - 5))) {
        text += fmt::format("{}={}", name.substr(0, name.size() - 5), *f);
      }
    } else if (std::holds_alternative<int64_t>(value)) {
      text += fmt::format("{}={}", name, std::get<int64_t>(value));
    } else {
      text += fmt::format("{}={}", name, std::get<std::string>(value));
    }
  }
  for (const Input& i : c.inputs) {
    text += fmt::format("{}{} {}", text.empty() ? "" : " ", i.name,
                        ShapeText(i.shape));
  }
  return text;
}

uint32_t Bits(const Tensor& t, size_t i) {
  switch (DTypeSize(t.dtype)) {
    case 4: {
      const float f = t.dtype == DType::kF32 ? t.As<float>()[i] : 0.0f;
      return std::isnan(f) ? 0x7FC00000u : t.As<uint32_t>()[i];
    }
    case 2:
      return t.As<uint16_t>()[i];
    default:
      return t.As<uint8_t>()[i];
  }
}

// One output being judged.
class OutputJudge {
 public:
  OutputJudge(const Case& c, const Output& out, const Tensor& got,
              const PortProfile& profile)
      : case_(c), out_(out), got_(got), profile_(profile) {
    result_.name = out.name;
    result_.shape = out.shape;
    if (const Op* op = FindOp(c.op)) result_.axes = op->axes;
    result_.n = got.n();
  }

  Status Run();
  // For `top_k`: the bounds of the weights in the same slots.
  std::span<const double> slot_bounds;
  // For weights: what legal flips add to each bound.
  std::vector<double> extra_bound;

  OutputResult& result() { return result_; }
  std::vector<double> legal_margin;  // [n], 0 where nothing flipped
  const std::vector<double>& bound() const { return bound_; }
  void AddFits(Fits& fits) const;

 private:
  Expected<const Tensor*> Find(const std::string& suffix, DType dtype) const;
  Status RunBound();
  Status RunExact();
  Status RunQuants();
  Status RunTopK();
  void Record(size_t i, double got, double want, double bound, double ratio);
  void Finish();

  const Case& case_;
  const Output& out_;
  const Tensor& got_;
  const PortProfile& profile_;
  OutputResult result_;
  std::vector<double> want_;
  std::vector<double> bound_;
  std::vector<double> ratios_;
};

Expected<const Tensor*> OutputJudge::Find(const std::string& suffix,
                                          DType dtype) const {
  const Tensor* t = case_.expected.Find(out_.name + suffix);
  if (t == nullptr || t->dtype != dtype || t->shape != out_.shape) {
    return BadInput(fmt::format("case {}: {}{} missing or not {} {}", case_.id,
                                out_.name, suffix, DTypeName(dtype),
                                ShapeText(out_.shape)));
  }
  return t;
}

void OutputJudge::Record(size_t i, double got, double want, double bound,
                         double ratio) {
  want_.push_back(want);
  ratios_.push_back(ratio);
  const bool good = ratio <= 1.0;
  const auto element = [&] {
    Element e;
    e.index = i;
    e.got = got;
    e.want = want;
    e.bound = bound;
    e.ratio = ratio;
    size_t rest = i;
    for (size_t a = out_.shape.size(); a-- > 0;) {
      e.coordinate.insert(e.coordinate.begin(), rest % out_.shape[a]);
      rest /= out_.shape[a];
    }
    return e;
  };
  if (!good) {
    ++result_.n_bad;
    if (result_.first_bad.index == kNoIndex) result_.first_bad = element();
  }
  if (result_.worst.index == kNoIndex || !(ratio <= result_.worst.ratio)) {
    result_.worst = element();
  }
}

Status OutputJudge::RunBound() {
  ETALON_ASSIGN_OR_RETURN(const Tensor* y, Find(".y", DType::kF64));
  ETALON_ASSIGN_OR_RETURN(bound_, Bounds(case_, out_, profile_, false));
  for (size_t i = 0; i < extra_bound.size(); ++i) bound_[i] += extra_bound[i];
  for (size_t i = 0; i < result_.n; ++i) {
    const double got = ElementValue(got_, i);
    const double want = y->As<double>()[i];
    Record(i, got, want, bound_[i], Ratio(got, want, bound_[i]));
  }
  ETALON_ASSIGN_OR_RETURN(const std::vector<double> statistical,
                          Bounds(case_, out_, profile_, true));
  for (size_t i = 0; i < result_.n; ++i) {
    const double extra = extra_bound.empty() ? 0.0 : extra_bound[i];
    const double ratio =
        Ratio(ElementValue(got_, i), want_[i], statistical[i] + extra);
    result_.n_beyond_statistical += ratio <= 1.0 ? 0 : 1;
  }
  return {};
}

Status OutputJudge::RunExact() {
  ETALON_ASSIGN_OR_RETURN(const Tensor* y, Find(".y", out_.dtype));
  for (size_t i = 0; i < result_.n; ++i) {
    const double got = ElementValue(got_, i);
    const double want = ElementValue(*y, i);
    // A zero of either sign: the exact value has none.
    const bool same = got == want || (std::isnan(got) && std::isnan(want));
    Record(i, got, want, 0.0, same ? 0.0 : kInf);
  }
  return {};
}

Status OutputJudge::RunQuants() {
  ETALON_ASSIGN_OR_RETURN(const Tensor* y, Find(".y", out_.dtype));
  ETALON_ASSIGN_OR_RETURN(const Tensor* margin, Find(".margin", DType::kF32));
  const double may_flip =
      508 * profile_.p.u * std::max(0.0, profile_.p.div_ulp - 0.5);
  for (size_t i = 0; i < result_.n; ++i) {
    const double got = ElementValue(got_, i);
    const double want = ElementValue(*y, i);
    const bool flip = may_flip > 0.0 && std::abs(got - want) == 1.0 &&
                      static_cast<double>(margin->As<float>()[i]) <= may_flip;
    result_.n_flips += flip ? 1 : 0;
    Record(i, got, want, flip ? 1.0 : 0.0, got == want || flip ? 0.0 : kInf);
  }
  return {};
}

Status OutputJudge::RunTopK() {
  ETALON_ASSIGN_OR_RETURN(const Tensor* y, Find(".y", DType::kI32));
  ETALON_ASSIGN_OR_RETURN(const Tensor* margin, Find(".margin", DType::kF32));
  legal_margin.assign(result_.n, 0.0);
  const size_t n_used = out_.shape.empty() ? 1 : out_.shape.back();
  const Input* logits = case_.FindInput("logits");
  const int64_t n_experts = logits == nullptr || logits->shape.empty()
                                ? 0
                                : static_cast<int64_t>(logits->shape.back());
  for (size_t i = 0; i < result_.n; ++i) {
    const int32_t got = got_.As<int32_t>()[i];
    const int32_t want = y->As<int32_t>()[i];
    double ratio = 0.0;
    if (got != want) {
      const double m = static_cast<double>(margin->As<float>()[i]);
      const double limit =
          i < slot_bounds.size() ? 2 * slot_bounds[i] + profile_.p.u : 0.0;
      const bool legal = got >= 0 && got < n_experts && m <= limit;
      ratio = legal ? 0.0 : kInf;
      result_.n_flips += legal ? 1 : 0;
      legal_margin[i] = legal ? m : 0.0;
    }
    const size_t first = i / n_used * n_used;
    for (size_t j = first; j < i; ++j) {
      if (got_.As<int32_t>()[j] == got) ratio = kInf;  // twice the same
    }
    Record(i, got, want, 0.0, ratio);
  }
  return {};
}

void OutputJudge::Finish() {
  AddStatistics(got_, want_, ratios_, result_);
  if (result_.n_bad > 0) {
    result_.periodicity = DescribePattern(result_.shape, result_.axes, ratios_);
    if (ratios_.size() <= 65536) {
      result_.ratios.assign(ratios_.begin(), ratios_.end());
    }
  }
  const Tensor* strict = case_.expected.Find(out_.name + ".strict");
  if (strict != nullptr && strict->dtype == got_.dtype &&
      strict->shape == got_.shape) {
    for (size_t i = 0; i < result_.n; ++i) {
      result_.n_bits_differing += Bits(*strict, i) == Bits(got_, i) ? 0 : 1;
    }
  }
}

Status OutputJudge::Run() {
  switch (out_.judge) {
    case Judge::kBound:
    case Judge::kScales:
      ETALON_RETURN_IF_ERROR(RunBound());
      break;
    case Judge::kExact:
      ETALON_RETURN_IF_ERROR(RunExact());
      break;
    case Judge::kQuants:
      ETALON_RETURN_IF_ERROR(RunQuants());
      break;
    case Judge::kTopK:
      ETALON_RETURN_IF_ERROR(RunTopK());
      break;
  }
  Finish();
  return {};
}

void OutputJudge::AddFits(Fits& fits) const {
  if (out_.judge != Judge::kBound || result_.n == 0) return;
  std::vector<double> error(result_.n);
  std::vector<double> gain(result_.n);
  for (size_t i = 0; i < result_.n; ++i) {
    error[i] = ElementValue(got_, i) - want_[i];
    gain[i] = want_[i];
  }
  const size_t row = out_.shape.empty() ? 1 : out_.shape.back();
  fits.Add(case_.op, "gain", error, gain, bound_, row);
  const std::string prefix = out_.name + ".g.";
  for (const auto& [name, t] : case_.expected.tensors) {
    if (!name.starts_with(prefix) || t.dtype != DType::kF32 ||
        t.shape != out_.shape) {
      continue;
    }
    const std::vector<double> g(t.As<float>().begin(), t.As<float>().end());
    fits.Add(case_.op, name.substr(prefix.size()), error, g, bound_, row);
  }
}

Status CheckGot(const Case& c, const Output& out, const Tensor* got) {
  if (got == nullptr) {
    return BadInput(fmt::format("output {} is missing", out.name));
  }
  if (got->dtype != out.dtype || got->shape != out.shape) {
    return BadInput(fmt::format("output {} is {} {}, want {} {}", out.name,
                                DTypeName(got->dtype), ShapeText(got->shape),
                                DTypeName(out.dtype), ShapeText(out.shape)));
  }
  static_cast<void>(c);
  return {};
}

std::string Summary(const OutputResult& o) {
  std::string at;
  for (size_t a = 0; a < o.first_bad.coordinate.size(); ++a) {
    at += fmt::format("{}{} {}", a > 0 ? ", " : "",
                      a < o.axes.size() ? o.axes[a] : "axis",
                      o.first_bad.coordinate[a]);
  }
  return fmt::format(
      "{}: {} of {} elements wrong, first at {}: got {:.9g}, want {:.9g} +- "
      "{:.3g}, err/bound {:.3g}{}{}",
      o.name, o.n_bad, o.n, at, o.first_bad.got, o.first_bad.want,
      o.first_bad.bound, o.first_bad.ratio, o.periodicity.empty() ? "" : "; ",
      o.periodicity);
}

Status JudgeOutputs(const Case& c, const TensorFile& got,
                    const PortProfile& profile, Fits* fits,
                    CaseResult& result) {
  std::vector<OutputJudge> judges;
  for (const Output& out : c.outputs) {
    const Tensor* t = got.Find(out.name);
    ETALON_RETURN_IF_ERROR(CheckGot(c, out, t));
    judges.emplace_back(c, out, *t, profile);
  }
  // Decisions first: what they allow decides the bounds of the others.
  std::vector<double> slot_bounds;
  std::vector<double> extra;
  for (size_t i = 0; i < judges.size(); ++i) {
    if (c.outputs[i].judge != Judge::kTopK) continue;
    for (const Output& weights : c.outputs) {
      if (weights.judge != Judge::kBound || weights.shape != c.outputs[i].shape)
        continue;
      ETALON_ASSIGN_OR_RETURN(slot_bounds, Bounds(c, weights, profile, false));
    }
    judges[i].slot_bounds = slot_bounds;
    ETALON_RETURN_IF_ERROR(judges[i].Run());
    const std::vector<double>& margin = judges[i].legal_margin;
    const size_t row = std::max<size_t>(
        1, c.outputs[i].shape.empty() ? 1 : c.outputs[i].shape.back());
    extra.assign(margin.size(), 0.0);
    for (size_t e = 0; e < margin.size(); ++e) {
      const size_t first = e / row * row;
      extra[e] =
          2 * *std::max_element(
                  margin.begin() + static_cast<std::ptrdiff_t>(first),
                  margin.begin() + static_cast<std::ptrdiff_t>(first + row));
    }
  }
  for (size_t i = 0; i < judges.size(); ++i) {
    if (c.outputs[i].judge == Judge::kTopK) continue;
    if (extra.size() == judges[i].result().n) judges[i].extra_bound = extra;
    ETALON_RETURN_IF_ERROR(judges[i].Run());
  }
  for (OutputJudge& judge : judges) {
    OutputResult& o = judge.result();
    if (o.n_bad > 0) {
      result.status = CaseStatus::kFail;
      if (result.message.empty()) result.message = Summary(o);
    } else if (o.n_beyond_statistical > 0 &&
               result.status == CaseStatus::kPass) {
      result.status = CaseStatus::kWarn;
      result.message =
          fmt::format("{}: {} of {} elements beyond the statistical bound",
                      o.name, o.n_beyond_statistical, o.n);
    }
    if (fits != nullptr && o.n_bad == 0) judge.AddFits(*fits);
    result.outputs.push_back(std::move(o));
  }
  return {};
}

}  // namespace

std::string SkipReason(const Case& c, const PortProfile& profile) {
  for (const std::string& need : c.needs) {
    if (need == "f64_norm_sum" && profile.p.f64_norm_sum) continue;
    if (need == "subnormals" && profile.p.ftz() == 0.0) continue;
    return fmt::format("profile {} has not {}", profile.p.name, need);
  }
  if (c.max_in > profile.p.in_max) {
    return fmt::format("operands up to {:.4g} overflow profile {}'s {:.4g}",
                       c.max_in, profile.p.name, profile.p.in_max);
  }
  return "";
}

CaseResult Unjudged(const Case& c, CaseStatus status, std::string message) {
  CaseResult r;
  r.id = c.id;
  r.op = c.op;
  r.kind = KindName(c.kind);
  r.family = c.family;
  r.params = ParamsText(c);
  r.layer = c.layer;
  r.call = c.call;
  r.module = c.module;
  r.status = status;
  r.message = std::move(message);
  return r;
}

CaseResult JudgeCase(const Case& c, const TensorFile& got,
                     const PortProfile& profile, Fits* fits) {
  CaseResult result = Unjudged(c, CaseStatus::kPass, "");
  if (const std::string reason = SkipReason(c, profile); !reason.empty()) {
    result.status = CaseStatus::kSkipped;
    result.message = reason;
    return result;
  }
  if (Status s = JudgeOutputs(c, got, profile, fits, result); !s) {
    result.status = CaseStatus::kError;
    result.message = s.error().message;
    result.outputs.clear();
  }
  return result;
}

// Least squares, each element weighed by its bound: what a row cannot show (g
// far below B: equal scores, values that cancel) has no say.
void Fits::Add(const std::string& op, const std::string& direction,
               std::span<const double> error, std::span<const double> g,
               std::span<const double> bound, size_t row) {
  row = std::max<size_t>(1, row);
  Sums& sums = sums_[{op, direction}];
  for (size_t first = 0; first < error.size(); first += row) {
    double error_g = 0.0;
    double g_g = 0.0;
    const size_t end = std::min(error.size(), first + row);
    for (size_t i = first; i < end; ++i) {
      const double scaled_g = g[i] / bound[i];
      const double scaled_error = error[i] / bound[i];
      if (!(bound[i] > 0.0) || !std::isfinite(scaled_g) ||
          !std::isfinite(scaled_error)) {
        continue;
      }
      error_g += scaled_error * scaled_g;
      g_g += scaled_g * scaled_g;
      ++sums.n;
    }
    sums.error_g += error_g;
    sums.g_g += g_g;
    sums.error_error += error_g * error_g;
    sums.error_fit += error_g * g_g;
    sums.fit_fit += g_g * g_g;
  }
}

// Errors within a row are related, rows are not: the variance of delta is the
// sum over rows of what delta leaves of (sum error g)^2.
std::vector<Fit> Fits::Solve() const {
  std::vector<Fit> fits;
  for (const auto& [key, sums] : sums_) {
    if (!(sums.g_g > 0.0)) continue;
    Fit fit;
    fit.op = key.first;
    fit.direction = key.second;
    fit.delta = sums.error_g / sums.g_g;
    const double left = sums.error_error - 2 * fit.delta * sums.error_fit +
                        fit.delta * fit.delta * sums.fit_fit;
    fit.threshold =
        std::max(1e-6, 6 * std::sqrt(std::max(0.0, left)) / sums.g_g);
    fit.n_elements = sums.n;
    fit.warns = !(std::abs(fit.delta) <= fit.threshold);
    fits.push_back(fit);
  }
  return fits;
}

}  // namespace etalon::golden
