// Reports: what stands in them follows from the result alone, hostile names
// stay text, and a NaN never looks like a pass.
#include "reference/golden/report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "reference/golden/report_figures.h"

namespace etalon::golden {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

CaseResult Passing(const std::string& id) {
  CaseResult c;
  c.id = id;
  c.op = "softmax";
  c.family = "normal";
  OutputResult o;
  o.name = "out";
  o.shape = {2, 16};
  o.axes = {"row", "column"};
  o.n = 32;
  o.worst = {3, {0, 3}, 0.5, 0.5, 1e-6, 0.1};
  o.histogram[10] = 32;
  c.outputs.push_back(o);
  return c;
}

CaseResult Failing(const std::string& id, double ratio) {
  CaseResult c = Passing(id);
  c.op = "attention";
  c.status = CaseStatus::kFail;
  c.message = "wrong <&\"'>";
  c.layer = 7;
  c.module = "attention";
  OutputResult& o = c.outputs.front();
  o.n_bad = 4;
  o.first_bad = {13, {0, 13}, 0.6, 0.55, 3.1e-6, ratio};
  o.worst = o.first_bad;
  o.histogram[22] = 4;
  o.periodicity = "column = 13..15 mod 16";
  o.ratios.assign(32, 0.01f);
  for (const size_t i : {13u, 14u, 29u, 30u}) o.ratios[i] = 412.0f;
  c.fingerprints = {{"tail_lanes", "the tail is <not> computed", 0.4, 1.0}};
  return c;
}

CheckResult Failed(double ratio) {
  CheckResult r;
  r.pack = "pack";
  r.suite = "model";
  r.subject = "got </title><script>alert(1)</script>";
  r.profile = "cuda-f32";
  r.command = "etalon golden check pack --got 'a&b'";
  r.cases = {Passing("softmax-0"), Failing("attention-1", ratio)};
  r.fits = {{"attention", "scale", 9.64e-6, 1e-6, 4096, true}};
  r.n_pass = 1;
  r.n_fail = 1;
  r.n_elements = 64;
  return r;
}

TEST(HtmlReport, NamesTheFirstDivergenceAndHowToRepeatIt) {
  const std::string html = HtmlReport(Failed(412));
  EXPECT_THAT(html, HasSubstr("layer 7, attention, out[row 0, column 13]"));
  EXPECT_THAT(html, HasSubstr("r = 412"));
  EXPECT_THAT(html, HasSubstr("column = 13..15 mod 16"));
  EXPECT_THAT(html, HasSubstr("tail_lanes"));
  EXPECT_THAT(html, HasSubstr("--case attention-1"));
  EXPECT_THAT(html, HasSubstr("FAILED"));
}

TEST(HtmlReport, IsOneFileThatRunsNothing) {
  const std::string html = HtmlReport(Failed(412));
  EXPECT_THAT(html, Not(HasSubstr("<script")));
  EXPECT_THAT(html, Not(HasSubstr("<link")));
  EXPECT_THAT(html, Not(HasSubstr("http")));
  EXPECT_THAT(html, Not(HasSubstr("wrong <&")));
  EXPECT_THAT(html, HasSubstr("a&amp;b"));
  EXPECT_EQ(html, HtmlReport(Failed(412)));
}

// Every element that is opened is closed, in order.
TEST(HtmlReport, IsWellFormed) {
  const std::string html = HtmlReport(Failed(kInf));
  std::vector<std::string> open;
  for (size_t at = html.find('<'); at != std::string::npos;
       at = html.find('<', at + 1)) {
    const size_t end = html.find('>', at);
    ASSERT_NE(end, std::string::npos);
    std::string tag = html.substr(at + 1, end - at - 1);
    if (tag.starts_with('!') || tag.ends_with('/')) continue;
    const bool closes = tag.starts_with('/');
    if (closes) tag.erase(0, 1);
    tag = tag.substr(0, tag.find(' '));
    if (tag == "meta") continue;
    if (!closes) {
      open.push_back(tag);
      continue;
    }
    ASSERT_FALSE(open.empty()) << tag;
    ASSERT_EQ(open.back(), tag);
    open.pop_back();
  }
  EXPECT_TRUE(open.empty());
}

TEST(HtmlReport, NothingJudgedIsNoPass) {
  CheckResult r;
  r.suite = "smoke";
  EXPECT_FALSE(r.Passed());
  EXPECT_THAT(HtmlReport(r), HasSubstr("FAILED"));
}

TEST(Heat, WhatIsNotKnownToBeWithinTheBoundIsRed) {
  EXPECT_EQ(HeatClass(0.0), 0);
  EXPECT_EQ(HeatClass(1.0), 5);
  EXPECT_EQ(HeatClass(std::nextafter(1.0, 2.0)), 6);
  EXPECT_EQ(HeatClass(11.0), 7);
  EXPECT_EQ(HeatClass(kInf), 7);
  EXPECT_EQ(HeatClass(kNan), 7);
}

TEST(JsonReport, CanBeReadAndKeepsSpecialNumbers) {
  for (const double ratio : {412.0, kInf, kNan}) {
    const auto json = nlohmann::json::parse(JsonReport(Failed(ratio)));
    EXPECT_FALSE(json["passed"].get<bool>());
    EXPECT_EQ(json["cases"].size(), 2u);
    EXPECT_EQ(json["cases"][1]["status"], "fail");
    EXPECT_EQ(json["cases"][1]["message"], "wrong <&\"'>");
    const auto& stored = json["cases"][1]["outputs"][0]["worst"]["ratio"];
    if (std::isfinite(ratio)) {
      EXPECT_EQ(stored.get<double>(), ratio);
    } else {
      EXPECT_EQ(stored, std::isnan(ratio) ? "nan" : "inf");
    }
  }
}

TEST(JUnitReport, CountsAndEscapes) {
  const std::string xml = JUnitReport(Failed(412));
  EXPECT_THAT(xml, HasSubstr("tests=\"2\" failures=\"1\" errors=\"0\""));
  EXPECT_THAT(xml, HasSubstr("<testcase classname=\"attention\" "
                             "name=\"attention-1\">"));
  EXPECT_THAT(xml, HasSubstr("message=\"wrong &lt;&amp;&quot;&#39;&gt;\""));
}

}  // namespace
}  // namespace etalon::golden
