// A profile as text, CSV, JSON and trace.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "profile/build_id.h"
#include "profile/profile.h"

namespace etalon::profile {
namespace {

using Json = nlohmann::ordered_json;

std::string Dump(const Json& j, int indent) {
  return j.dump(indent, ' ', false, Json::error_handler_t::replace) + "\n";
}

Json Optional(const std::optional<uint64_t>& n) {
  return n ? Json(*n) : Json(nullptr);
}

std::string Quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    out += c;
    if (c == '"') out += c;
  }
  return out + '"';
}

}  // namespace

std::string ToText(const ProfileReport& r) {
  std::string out =
      fmt::format("{}\n{} ({})\n{} kernels, {} threads; while measuring: {}\n",
                  r.machine, r.model.type, r.model_path, r.tier, r.n_threads,
                  DisturbanceText(r.disturbance));
  for (const Phase& p : r.phases) {
    out += fmt::format(
        "\n{}, {}: {:.2f} ms, {:.2f} tokens/s (median of {} passes)\n"
        "undisturbed {:.2f} ms, {:.1f} % inside ops; spread of ops with 1 % "
        "and "
        "more: {:.1f} %{}\n{}\n",
        p.name, p.test, p.measured_wall * 1e3, p.TokensPerSecond(), p.passes,
        p.wall * 1e3, 100 * p.accounted / p.wall, 100 * p.spread,
        p.passes < 2 ? " (one pass)" : "", p.counters.Text());
    out += fmt::format(
        "{:11} {:10} {:>13} {:>6} {:>9} {:>7} {:>6} {:>9} {:>7} "
        "{:>8} {:>7} {:>11} {:>6} {:>6} {:>6}\n",
        "op", "type", "shape", "calls", "ms", "spread", "share", "MB", "GB/s",
        "GOP/s", "op/byte", "roof", "of it", "wait", "uneven");
    for (const OpRow& row : p.rows) {
      out += fmt::format(
          "{:11} {:10} {:>13} {:>6} {:>9.3f} {:>6.1f}% {:>5.1f}% {:>9.2f} "
          "{:>7.1f} "
          "{:>8.1f} {:>7.1f} {:>11} {:>5.0f}% {:>5.0f}% {:>5.0f}%\n",
          OpName(row.key.op), row.key.TypeText(), row.key.ShapeText(),
          row.calls, row.seconds * 1e3, row.spread * 100, row.share * 100,
          row.cost.bytes() * 1e-6, row.BytesPerSecond() * 1e-9,
          row.OperationsPerSecond() * 1e-9, row.Intensity(),
          row.roof.empty() ? "-" : row.roof, row.roof_share * 100,
          row.wait_share * 100, row.imbalance * 100);
    }
  }
  return out;
}

std::string ToCsv(const ProfileReport& r) {
  std::string out =
      "phase,test,op,type,shape,calls,seconds,share,bytes,streamed_bytes,"
      "operations,bytes_per_second,operations_per_second,intensity,roof,"
      "roof_share,wait_share,imbalance,spread\n";
  for (const Phase& p : r.phases) {
    for (const OpRow& row : p.rows) {
      out += fmt::format(
          "{},{},{},{},{},{},{:.9f},{:.6f},{:.0f},{:.0f},{:.0f},{:.0f},{:.0f},"
          "{:.4f},{},{:.4f},{:.4f},{:.4f},{:.4f}\n",
          p.name, Quoted(p.test), OpName(row.key.op), row.key.TypeText(),
          row.key.ShapeText(), row.calls, row.seconds, row.share,
          row.cost.bytes(), row.cost.streamed, row.cost.operations,
          row.BytesPerSecond(), row.OperationsPerSecond(), row.Intensity(),
          row.roof, row.roof_share, row.wait_share, row.imbalance, row.spread);
    }
  }
  return out;
}

std::string ToJson(const ProfileReport& r) {
  Json j;
  j["tool"] = "etalon profile";
  j["build_commit"] = BuildCommit();
  j["time"] = r.time;
  j["model"] = {{"path", r.model_path},
                {"type", r.model.type},
                {"bytes", r.model.n_bytes},
                {"parameters", r.model.n_params}};
  j["machine"] = r.machine;
  j["quiet"] = r.disturbance.quiet();
  j["disturbance"] = DisturbanceText(r.disturbance);
  j["isa"] = r.tier;
  j["n_threads"] = r.n_threads;
  j["roofs"] = r.roofs.bandwidths.empty() && r.roofs.peaks.empty()
                   ? Json(nullptr)
                   : Json::parse(ToJson(r.roofs));
  j["phases"] = Json::array();
  for (const Phase& p : r.phases) {
    Json phase = {{"name", p.name},
                  {"test", p.test},
                  {"tokens", p.n_tokens},
                  {"repetitions", p.passes},
                  {"seconds", p.wall},
                  {"measured_seconds", p.measured_wall},
                  {"accounted_seconds", p.accounted},
                  {"spread", p.spread},
                  {"cycles", Optional(p.counters.cycles)},
                  {"instructions", Optional(p.counters.instructions)},
                  {"llc_misses", Optional(p.counters.llc_misses)}};
    phase["ops"] = Json::array();
    for (const OpRow& row : p.rows) {
      phase["ops"].push_back(
          {{"op", OpName(row.key.op)},
           {"type", row.key.TypeText()},
           {"shape", row.key.ShapeText()},
           {"calls", row.calls},
           {"seconds", row.seconds},
           {"share", row.share},
           {"bytes", row.cost.bytes()},
           {"streamed_bytes", row.cost.streamed},
           {"ops", row.cost.operations},
           {"bytes_per_second", row.BytesPerSecond()},
           {"ops_per_second", row.OperationsPerSecond()},
           {"intensity", row.Intensity()},
           {"roof", row.roof.empty() ? Json(nullptr) : Json(row.roof)},
           {"roof_share", row.roof_share},
           {"wait_share", row.wait_share},
           {"imbalance", row.imbalance},
           {"spread", row.spread}});
    }
    j["phases"].push_back(std::move(phase));
  }
  return Dump(j, 1);
}

std::string ToTrace(const ProfileReport& r) {
  Json events = Json::array();
  events.push_back({{"name", "process_name"},
                    {"ph", "M"},
                    {"pid", 1},
                    {"args", {{"name", "etalon " + r.model.type}}}});
  double start = 0;  // phases one after the other
  int thread = 0;
  for (const Phase& p : r.phases) {
    ++thread;
    events.push_back({{"name", "thread_name"},
                      {"ph", "M"},
                      {"pid", 1},
                      {"tid", thread},
                      {"args", {{"name", p.name + " " + p.test}}}});
    double end = start;
    for (const TraceEvent& e : p.events) {
      events.push_back({{"name", e.name},
                        {"cat", p.name},
                        {"ph", "X"},
                        {"ts", (start + e.begin) * 1e6},
                        {"dur", e.seconds * 1e6},
                        {"pid", 1},
                        {"tid", thread},
                        {"args", {{"bytes", e.bytes}, {"ops", e.operations}}}});
      end = start + e.begin + e.seconds;
    }
    start = end;
  }
  return Dump({{"traceEvents", std::move(events)}, {"displayTimeUnit", "ms"}},
              -1);
}

}  // namespace etalon::profile
