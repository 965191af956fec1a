#include "etalon/types.h"

#include <gtest/gtest.h>

#include "tests/util/random_weights.h"

namespace etalon {
namespace {

TEST(Types, RowBytesAreThoseOfTheFileFormat) {
  struct Row {
    TensorType type;
    size_t block;
    size_t bytes;
  };
  const Row rows[] = {
      {TensorType::kF32, 1, 4},      {TensorType::kF16, 1, 2},
      {TensorType::kBF16, 1, 2},     {TensorType::kQ4_0, 32, 18},
      {TensorType::kQ4_1, 32, 20},   {TensorType::kQ5_0, 32, 22},
      {TensorType::kQ5_1, 32, 24},   {TensorType::kQ8_0, 32, 34},
      {TensorType::kQ4_K, 256, 144}, {TensorType::kQ5_K, 256, 176},
      {TensorType::kQ6_K, 256, 210}, {TensorType::kQ8_K, 256, 292},
  };
  for (const Row& row : rows) {
    const TypeTraits* traits = FindTypeTraits(row.type);
    ASSERT_NE(traits, nullptr);
    EXPECT_EQ(traits->block_size, row.block) << traits->name;
    EXPECT_EQ(RowBytes(row.type, 0), 0u);
    EXPECT_EQ(RowBytes(row.type, 3 * row.block), 3 * row.bytes) << traits->name;
    EXPECT_EQ(ParseTensorType(TypeName(row.type)), row.type);
  }
}

TEST(Types, UnknownTypesAndNamesAreNotGuessed) {
  for (const uint32_t id : {4u, 5u, 9u, 10u, 11u, 16u, 24u, 26u, 31u, 99u}) {
    EXPECT_EQ(FindTypeTraits(static_cast<TensorType>(id)), nullptr) << id;
    EXPECT_EQ(TypeName(static_cast<TensorType>(id)), "unknown type") << id;
  }
  EXPECT_EQ(ParseTensorType("q4_k"), TensorType::kQ4_K);
  EXPECT_EQ(ParseTensorType(""), std::nullopt);
  EXPECT_EQ(ParseTensorType("Q4_K_M"), std::nullopt);
  EXPECT_EQ(ParseTensorType("unknown type"), std::nullopt);
}

}  // namespace
}  // namespace etalon
