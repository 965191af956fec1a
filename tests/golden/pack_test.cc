// Packs in memory: regeneration, flipped bits, hostile files.
#include "reference/golden/pack.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "reference/golden/emulator.h"
#include "reference/golden/fingerprint.h"
#include "reference/golden/sha256.h"
#include "reference/golden/suite.h"

namespace etalon::golden {
namespace {

using Files = std::map<std::string, std::vector<std::byte>>;

WriteFile Into(Files& files) {
  return [&files](const std::string& path,
                  std::span<const std::byte> bytes) -> Status {
    files[path].assign(bytes.begin(), bytes.end());
    return {};
  };
}
ReadFile From(const Files& files) {
  return [&files](const std::string& path) -> Expected<std::vector<std::byte>> {
    const auto it = files.find(path);
    if (it == files.end()) return BadInput(path + ": not there");
    return it->second;
  };
}

const Files& SmokePack() {
  static const Files files = [] {
    Files f;
    const Status s = MakePack("smoke", ReferenceSubject(), Into(f));
    EXPECT_TRUE(s) << s.error().message;
    return f;
  }();
  return files;
}

CheckOptions ReferenceOptions(const Subject* subject) {
  CheckOptions o;
  // The reference rounds once: every profile holds for it.
  o.profile = *FindShippedProfile("cpu-strict");
  o.subject = subject;
  return o;
}

TEST(Pack, IsTheSameBytesAgainAndSmall) {
  Files again;
  ASSERT_TRUE(MakePack("smoke", ReferenceSubject(), Into(again)));
  EXPECT_EQ(again, SmokePack());
  size_t bytes = 0;
  for (const auto& [path, content] : again) bytes += content.size();
  EXPECT_LE(bytes, size_t{2} << 20);
  EXPECT_GT(again.size(), 250u);
}

TEST(Pack, TheReferencePassesItsOwnPack) {
  const Subject reference = ReferenceSubject();
  const auto r = CheckPack(From(SmokePack()), ReferenceOptions(&reference));
  ASSERT_TRUE(r) << r.error().message;
  EXPECT_TRUE(r->Passed());
  EXPECT_EQ(r->n_fail + r->n_error + r->n_skipped, 0u);
}

// Any bit of any file: the digests see it before anything is judged.
TEST(Pack, OneFlippedBitIsNoticed) {
  const Subject reference = ReferenceSubject();
  size_t i = 0;
  for (const auto& [path, content] : SmokePack()) {
    if (++i % 17 != 0 && path.starts_with("cases/")) continue;
    Files flipped = SmokePack();
    std::vector<std::byte>& bytes = flipped[path];
    bytes[bytes.size() * 2 / 3] ^= std::byte{1};
    CheckOptions o = ReferenceOptions(&reference);
    o.fingerprints = false;
    const auto r = CheckPack(From(flipped), std::move(o));
    EXPECT_TRUE(!r || !r->Passed()) << path;
  }
}

TEST(Pack, OutputsThatCannotBeReadAreNeverAPass) {
  Case c = *DescribeCase("rms_norm", 3);
  ASSERT_TRUE(CompleteCase(c, ReferenceSubject()));
  const auto profile = *FindShippedProfile("cpu-strict");
  const auto good = golden::Run(c, ReferenceSubject());
  ASSERT_TRUE(good);
  EXPECT_EQ(JudgeCase(c, *good, profile, nullptr).status, CaseStatus::kPass);

  EXPECT_EQ(JudgeCase(c, {}, profile, nullptr).status, CaseStatus::kError);
  TensorFile shape = *good;
  shape.tensors[0].second.shape.push_back(1);
  EXPECT_EQ(JudgeCase(c, shape, profile, nullptr).status, CaseStatus::kError);
  TensorFile dtype = *good;
  dtype.tensors[0].second.dtype = DType::kI32;
  EXPECT_EQ(JudgeCase(c, dtype, profile, nullptr).status, CaseStatus::kError);
  for (const float bad : {std::nanf(""), INFINITY, -INFINITY}) {
    TensorFile special = *good;
    special.tensors[0].second.As<float>()[0] = bad;
    const CaseResult r = JudgeCase(c, special, profile, nullptr);
    EXPECT_EQ(r.status, CaseStatus::kFail) << bad;
    EXPECT_EQ(r.outputs[0].first_bad.index, 0u);
  }
  Case poisoned = c;
  for (auto& [name, t] : poisoned.expected.tensors) {
    if (name.find(".c") == std::string::npos) continue;
    for (float& x : t.As<float>()) x = std::nanf("");
  }
  TensorFile off = *good;
  off.tensors[0].second.As<float>()[0] += 1.0f;
  EXPECT_TRUE(JudgeCase(poisoned, off, profile, nullptr).Failed());
}

TEST(Safetensors, EveryTruncationAndManyFlipsAreRefusedOrHarmless) {
  Case c = *DescribeCase("softmax", 2);
  ASSERT_TRUE(CompleteCase(c, ReferenceSubject()));
  const std::vector<std::byte> bytes = CaseFile(c);
  ASSERT_TRUE(ReadSafetensors(bytes, "f"));
  for (size_t n = 0; n < bytes.size(); ++n) {
    const std::span<const std::byte> part(bytes.data(), n);
    // Only the padding behind the last tensor may be missing.
    EXPECT_TRUE(!ReadSafetensors(part, "f") || n + 8 > bytes.size()) << n;
  }
  for (size_t i = 0; i < std::min<size_t>(bytes.size(), 400); ++i) {
    for (const int bit : {0, 3, 7}) {
      std::vector<std::byte> flipped = bytes;
      flipped[i] ^= static_cast<std::byte>(1 << bit);
      const auto file = ReadSafetensors(flipped, "f");
      if (!file) continue;
      for (const auto& [name, t] : file->tensors) {
        EXPECT_EQ(t.bytes.size(), t.n() * DTypeSize(t.dtype));
      }
    }
  }
}

TEST(Sha256, KnownAnswers) {
  const auto hex = [](std::string_view text) {
    return Sha256Hex(std::as_bytes(std::span(text.data(), text.size())));
  };
  // FIPS 180-4's examples.
  EXPECT_EQ(hex(""),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(hex("abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(hex("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
}

TEST(Recipe, PhiloxKnownAnswers) {
  // Random123's kat_vectors.
  EXPECT_EQ(Philox4x32_10({0, 0, 0, 0}, {0, 0}),
            (Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(Philox4x32_10({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
                          {0xffffffff, 0xffffffff}),
            (Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(Philox4x32_10({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
                          {0xa4093822, 0x299f31d0}),
            (Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Profiles, AllAreReadAndUnknownFieldsAreNot) {
  EXPECT_GE(ShippedProfiles().size(), 11u);
  for (const ShippedProfile& p : ShippedProfiles()) {
    const auto profile = ParseProfile(p.json, std::string(p.name));
    ASSERT_TRUE(profile) << profile.error().message;
    EXPECT_EQ(profile->p.name, p.name);
    EXPECT_GT(profile->source.size(), 20u);
  }
  for (const char* bad :
       {"", "[]", "{", R"({"etalon_profile":1,"name":"x"})",
        R"({"etalon_profile":2,"name":"x","source":"y"})",
        R"({"etalon_profile":1,"name":"x","source":"y","U":1})",
        R"({"etalon_profile":1,"name":"x","source":"y","u":-1})",
        R"({"etalon_profile":1,"name":"x","source":"y","u":"a"})",
        R"({"etalon_profile":1,"name":"x","source":"y","lanes":0})",
        R"({"etalon_profile":1,"name":"x","source":"y","div_ulp":9})"}) {
    EXPECT_FALSE(ParseProfile(bad, "p")) << bad;
  }
}

// What the engine's tests judge its kernels by is what ports are told.
TEST(Profiles, TheEnginesOwnAreShippedAsTheyAre) {
  for (const reference::Profile* own :
       {&reference::CpuStrictProfile(), &reference::CpuFastProfile()}) {
    const auto shipped = FindShippedProfile(own->name);
    ASSERT_TRUE(shipped);
    const reference::Profile& p = shipped->p;
    EXPECT_EQ(p.u, own->u);
    EXPECT_EQ(p.acc(), own->acc());
    EXPECT_EQ(p.lanes, own->lanes);
    EXPECT_EQ(p.fused, own->fused);
    EXPECT_EQ(p.exp_ulp, own->exp_ulp);
    EXPECT_EQ(p.exp_ulp_per_x, own->exp_ulp_per_x);
    EXPECT_EQ(p.tanh_ulp, own->tanh_ulp);
    EXPECT_EQ(p.div_ulp, own->div_ulp);
    EXPECT_EQ(p.rsqrt_ulp, own->rsqrt_ulp);
    EXPECT_EQ(p.f64_norm_sum, own->f64_norm_sum);
    EXPECT_EQ(p.u_in, own->u_in);
    EXPECT_EQ(p.u_p, own->u_p);
    EXPECT_EQ(p.u_out, own->u_out);
    EXPECT_EQ(p.in_max, own->in_max);
    EXPECT_EQ(p.in_tiny, own->in_tiny);
    EXPECT_EQ(p.tiny, own->tiny);
    EXPECT_EQ(p.kv_chunk, own->kv_chunk);
    EXPECT_EQ(p.quantized, own->quantized);
  }
}

TEST(Suite, FullHasItsCasesAndEveryOp) {
  const auto cases = DescribeSuite("full");
  ASSERT_TRUE(cases);
  size_t n = 0;
  std::map<std::string, size_t> ops;
  for (const Case& c : *cases) {
    n += c.kind != CaseKind::kProcedural;
    ++ops[c.op];
  }
  EXPECT_GE(n, 5000u);
  EXPECT_EQ(ops.size(), Ops().size());
}

// Attention over an empty cache: 0 is right, of either sign; nothing else is.
TEST(EmptyCache, OnlyZeroPasses) {
  for (const auto& [op, index] :
       {std::pair{"attention", 60}, std::pair{"attention_variant", 17}}) {
    Case c = *DescribeCase(op, static_cast<uint64_t>(index));
    ASSERT_EQ(c.family, "empty");
    ASSERT_EQ(*c.Int("kv_len"), 0);
    ASSERT_TRUE(CompleteCase(c, ReferenceSubject()));
    auto got = golden::Run(c, ReferenceSubject());
    ASSERT_TRUE(got);
    for (const ShippedProfile& shipped : ShippedProfiles()) {
      const PortProfile profile = *FindShippedProfile(shipped.name);
      const auto judge = [&](float x) {
        got->tensors[0].second.As<float>()[1] = x;
        return JudgeCase(c, *got, profile, nullptr).status;
      };
      EXPECT_EQ(judge(0.0f), CaseStatus::kPass) << shipped.name;
      EXPECT_EQ(judge(-0.0f), CaseStatus::kPass) << shipped.name;
      for (const float bad : {0x1p-149f, -0x1p-149f, 1.0f, INFINITY, NAN}) {
        EXPECT_EQ(judge(bad), CaseStatus::kFail) << shipped.name << " " << bad;
      }
    }
    Case negative = c;
    negative.params["kv_len"] = int64_t{-1};
    EXPECT_EQ(
        JudgeCase(negative, *got, *FindShippedProfile("cpu-strict"), nullptr)
            .status,
        CaseStatus::kError);
  }
}

// No bug of the catalogue makes an emulated kernel leave its memory there (the
// address sanitizer looks on); one that divides 0 by 0 is seen, and named.
TEST(EmptyCache, BugsOfTheCatalogueAreSafeAndTheGuardIsMissed) {
  const PortProfile profile = *FindShippedProfile("cpu-strict");
  for (const uint64_t index : {60u, 100u, 140u, 180u, 220u, 260u, 980u}) {
    Case c = *DescribeCase("attention", index);
    ASSERT_EQ(c.family, "empty");
    ASSERT_TRUE(MakeInputs(c));
    ASSERT_TRUE(Expect(c));
    for (const Bug& bug : Bugs()) {
      if (bug.op != c.op) continue;
      const auto got = Emulate(c, StrictMachine(), bug.id);
      ASSERT_TRUE(got) << bug.id;
      const bool fails = JudgeCase(c, *got, profile, nullptr).Failed();
      if (bug.id != "attn_empty_cache") continue;
      EXPECT_TRUE(fails);
      const auto found = FindFingerprints(c, *got, profile);
      ASSERT_FALSE(found.empty());
      EXPECT_TRUE(std::any_of(
          found.begin(), found.end(),
          [](const Fingerprint& f) { return f.bug == "attn_empty_cache"; }));
    }
  }
}

}  // namespace
}  // namespace etalon::golden
