// Files on disk: atomic replacement, npy, mapping and what ends a mapping.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>
#include <sstream>
#include <thread>

#include "io/atomic_file.h"
#include "io/gguf.h"
#include "io/mapped_file.h"
#include "io/npy.h"

namespace etalon::io {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::EndsWith;
using testing::HasSubstr;
using testing::StartsWith;

class Files : public testing::Test {
 protected:
  Files() {
    GTEST_FLAG_SET(death_test_style, "threadsafe");
    const auto* test = testing::UnitTest::GetInstance()->current_test_info();
    dir_ = fs::path(testing::TempDir()) /
           (std::string("etalon_io.") + test->name());
    fs::remove_all(dir_);
    fs::create_directories(dir_);
  }
  ~Files() override { fs::remove_all(dir_); }

  std::string Path(const char* name) const { return dir_ / name; }
  size_t FilesInDir() const {
    return static_cast<size_t>(
        std::distance(fs::directory_iterator(dir_), fs::directory_iterator()));
  }

  fs::path dir_;
};

std::string Content(const std::string& path) {
  std::ostringstream s;
  s << std::ifstream(path, std::ios::binary).rdbuf();
  return s.str();
}
std::span<const std::byte> AsBytes(std::string_view s) {
  return std::as_bytes(std::span(s));
}

TEST_F(Files, AppearWhenComplete) {
  const std::string path = Path("out");
  std::ofstream(path) << "old";
  auto file = AtomicFile::Create(path);
  ASSERT_TRUE(file) << file.error().message;
  ASSERT_TRUE(file->Write(AsBytes("new content")));
  EXPECT_EQ(Content(path), "old");
  EXPECT_TRUE(fs::exists(dir_ / (".out.tmp." + std::to_string(getpid()))) ||
              FilesInDir() == 2);
  ASSERT_TRUE(file->Commit());
  EXPECT_EQ(Content(path), "new content");
  EXPECT_EQ(FilesInDir(), 1u);
  EXPECT_FALSE(file->Write(AsBytes("x")));
  EXPECT_FALSE(file->Commit());
}

TEST_F(Files, AbandonedOnesLeaveNothing) {
  const std::string path = Path("out");
  {
    auto file = AtomicFile::Create(path);
    ASSERT_TRUE(file && file->Write(AsBytes("half")));
    AtomicFile moved = std::move(*file);
    EXPECT_EQ(FilesInDir(), 1u);
  }
  EXPECT_EQ(FilesInDir(), 0u);
}

TEST_F(Files, LargeWritesPassTheBuffer) {
  const std::string path = Path("out");
  std::string want;
  auto file = AtomicFile::Create(path);
  ASSERT_TRUE(file);
  for (const size_t n : std::initializer_list<size_t>{
           1, 1 << 20, 3, (1 << 20) - 1, 5 << 20, 7}) {
    const std::string piece(n, static_cast<char>('a' + n % 26));
    want += piece;
    ASSERT_TRUE(file->Write(AsBytes(piece)));
  }
  EXPECT_EQ(file->n_written(), want.size());
  ASSERT_TRUE(file->Commit());
  EXPECT_TRUE(Content(path) == want);
}

TEST_F(Files, AFullDiskLeavesTheOldFile) {
  const std::string path = Path("out");
  std::ofstream(path) << "old";
  // A file size limit stands for the full disk.
  rlimit old_limit;
  getrlimit(RLIMIT_FSIZE, &old_limit);
  rlimit limit = old_limit;
  limit.rlim_cur = 3 << 20;
  const auto old_handler = signal(SIGXFSZ, SIG_IGN);
  setrlimit(RLIMIT_FSIZE, &limit);
  const std::string data(5 << 20, 'x');
  const Status status = WriteFileAtomically(path, AsBytes(data));
  setrlimit(RLIMIT_FSIZE, &old_limit);
  signal(SIGXFSZ, old_handler);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, ErrorCode::kIo);
  EXPECT_THAT(status.error().message, AllOf(HasSubstr("out: cannot write: "),
                                            testing::Not(HasSubstr("\n"))));
  EXPECT_EQ(Content(path), "old");
  EXPECT_EQ(FilesInDir(), 1u);
}

TEST_F(Files, DevicesAreWrittenDirectly) {
  const Status full = WriteFileAtomically("/dev/full", AsBytes("x"));
  ASSERT_FALSE(full);
  EXPECT_EQ(full.error().message,
            "/dev/full: cannot write: No space left on device");
  EXPECT_TRUE(WriteFileAtomically("/dev/null", AsBytes("x")));
  EXPECT_TRUE(fs::is_character_file("/dev/null"));
}

TEST_F(Files, BadNames) {
  EXPECT_THAT(AtomicFile::Create(dir_).error().message,
              HasSubstr("is a directory"));
  EXPECT_FALSE(AtomicFile::Create(""));
  EXPECT_FALSE(AtomicFile::Create(std::string("a\0b", 3)));
  const auto missing = AtomicFile::Create(Path("no/such/dir"));
  EXPECT_EQ(missing.error().code, ErrorCode::kIo);
  EXPECT_THAT(missing.error().message, EndsWith("No such file or directory"));
  // As long as a name may be: the temporary name must still fit.
  const std::string longest = Path(std::string(255, 'n').c_str());
  EXPECT_TRUE(WriteFileAtomically(longest, AsBytes("x")));
}

TEST_F(Files, KeepPermissionsAndLinks) {
  const std::string path = Path("private");
  std::ofstream(path) << "old";
  chmod(path.c_str(), 0600);
  fs::create_symlink("private", dir_ / "link");
  ASSERT_TRUE(WriteFileAtomically(Path("link"), AsBytes("new")));
  EXPECT_TRUE(fs::is_symlink(dir_ / "link"));
  EXPECT_EQ(Content(path), "new");
  EXPECT_EQ(fs::status(path).permissions(),
            fs::perms::owner_read | fs::perms::owner_write);
}

TEST_F(Files, ConcurrentWritersLeaveOneCompleteFile) {
  const std::string path = Path("out");
  std::vector<std::thread> writers;
  for (int i = 0; i < 4; ++i) {
    writers.emplace_back([&, i] {
      const std::string data(100000, static_cast<char>('a' + i));
      for (int k = 0; k < 5; ++k) {
        EXPECT_TRUE(WriteFileAtomically(path, AsBytes(data)));
      }
    });
  }
  for (std::thread& t : writers) t.join();
  const std::string content = Content(path);
  EXPECT_EQ(content, std::string(100000, content[0]));
  EXPECT_EQ(FilesInDir(), 1u);
}

TEST_F(Files, NpyHeaderIsWhatNumpyWrites) {
  const uint64_t shape[] = {3, 2};
  const auto header = NpyHeader("<f4", shape);
  ASSERT_TRUE(header);
  EXPECT_EQ(header->size(), 128u);
  EXPECT_EQ(header->substr(0, 10),
            std::string("\x93NUMPY\x01\x00\x76\x00", 10));
  EXPECT_THAT(header->substr(10),
              StartsWith("{'descr': '<f4', 'fortran_order': False, "
                         "'shape': (3, 2), }"));
  EXPECT_EQ(header->back(), '\n');
  const uint64_t one[] = {7};
  EXPECT_THAT(*NpyHeader("<i8", one), HasSubstr("'shape': (7,), }"));
  EXPECT_THAT(*NpyHeader("<i8", {}), HasSubstr("'shape': (), }"));
  const std::vector<uint64_t> many(30000, 1);
  EXPECT_FALSE(NpyHeader("<f4", many));
  for (size_t rank = 0; rank < 40; ++rank) {
    const std::vector<uint64_t> ones(rank, 1);
    EXPECT_EQ(NpyHeader("<f4", ones)->size() % 64, 0u);
  }
}

TEST_F(Files, NpyHoldsTheBytesInOrder) {
  const std::vector<float> data{0.0f, -1.5f, 2.0f, 3.25f, -0.0f, 1e-45f};
  const uint64_t shape[] = {2, 3};
  const std::string path = Path("a.npy");
  ASSERT_TRUE(WriteNpy<float>(path, shape, data));
  const std::string content = Content(path);
  ASSERT_EQ(content.size(), 128 + 24u);
  EXPECT_EQ(std::memcmp(content.data() + 128, data.data(), 24), 0);
}

TEST_F(Files, NpyMustHaveItsShape) {
  const std::string path = Path("a.npy");
  const uint64_t shape[] = {2, 2};
  {
    auto writer = NpyWriter<int32_t>::Create(path, shape);
    ASSERT_TRUE(writer);
    const std::vector<int32_t> three{1, 2, 3};
    EXPECT_TRUE(writer->Append(three));
    EXPECT_FALSE(writer->Finish());
    EXPECT_FALSE(writer->Append(three));
  }
  EXPECT_EQ(FilesInDir(), 0u);
  const uint64_t huge[] = {uint64_t{1} << 40, uint64_t{1} << 40};
  EXPECT_FALSE(NpyWriter<float>::Create(path, huge));
}

TEST_F(Files, MappingRefusesWhatIsNoFile) {
  const auto message = [](const std::string& path) {
    const auto file = MappedFile::Open(path);
    EXPECT_FALSE(file);
    EXPECT_EQ(file.error().code, ErrorCode::kBadInput);
    return file.error().message;
  };
  EXPECT_EQ(message("/no/such/file"),
            "/no/such/file: No such file or directory");
  EXPECT_THAT(message(dir_), EndsWith("is a directory, need a regular file"));
  EXPECT_THAT(message("/dev/zero"), HasSubstr("is a device"));
  ASSERT_EQ(mkfifo(Path("fifo").c_str(), 0600), 0);
  EXPECT_THAT(message(Path("fifo")), HasSubstr("is a FIFO"));  // no hang
  fs::create_symlink("loop", dir_ / "loop");
  EXPECT_THAT(message(Path("loop")), HasSubstr("symbolic links"));
  EXPECT_THAT(message(std::string("a\0b", 3)), HasSubstr("NUL"));
  EXPECT_THAT(message("/no\nsuch"), StartsWith("/no\\x0Asuch: "));
}

TEST_F(Files, AnEmptyFileIsNoGguf) {
  const std::string path = Path("empty.gguf");
  std::ofstream(path).flush();
  const auto file = GgufFile::Open(path);
  ASSERT_FALSE(file);
  EXPECT_EQ(file.error().code, ErrorCode::kBadInput);
  EXPECT_EQ(file.error().message,
            path + ": magic @0: file is 0 bytes, need 24");
}

using FilesDeathTest = Files;

// A page of a mapped file that is gone.
void ReadAfterTruncation(const std::string& path) {
  std::ofstream(path) << std::string(20000, 'x');
  const auto file = MappedFile::Open(path);
  fs::resize_file(path, 4096);
  if (!InstallSigbusHandler()) _exit(9);
  // Elsewhere in the file first, so that the offset printed is that of the
  // fault.
  volatile std::byte first = file->bytes()[4095];
  static_cast<void>(first);
  volatile std::byte gone = file->bytes()[12345];
  static_cast<void>(gone);
  _exit(8);
}

TEST_F(FilesDeathTest, TruncationWhileMappedIsOneLineAndExit3) {
  const std::string path = Path("model.gguf");
  EXPECT_EXIT(ReadAfterTruncation(path), testing::ExitedWithCode(3),
              "model.gguf: cannot read byte 12345 of 20000: the file was "
              "truncated");
}

// A mapping that is no MappedFile.
void ReadForeignMapping(const std::string& path) {
  const rlimit no_core = {0, 0};
  setrlimit(RLIMIT_CORE, &no_core);
  if (!InstallSigbusHandler()) _exit(9);
  std::ofstream(path) << std::string(20000, 'x');
  const int fd = open(path.c_str(), O_RDONLY);
  void* p = mmap(nullptr, 20000, PROT_READ, MAP_PRIVATE, fd, 0);
  fs::resize_file(path, 0);
  volatile char gone = static_cast<char*>(p)[8192];
  static_cast<void>(gone);
  _exit(8);
}

TEST_F(FilesDeathTest, ForeignSigbusKeepsItsMeaning) {
  const std::string path = Path("other");
  EXPECT_EXIT(ReadForeignMapping(path), testing::KilledBySignal(SIGBUS), "");
}

TEST_F(Files, ManyMappingsAtOnce) {
  const std::string path = Path("m");
  std::ofstream(path) << "content";
  std::vector<MappedFile> files;
  for (int i = 0; i < 100; ++i) {  // more than the registry holds
    auto file = MappedFile::Open(path);
    ASSERT_TRUE(file);
    files.push_back(std::move(*file));
  }
  for (const MappedFile& f : files) EXPECT_EQ(f.bytes().size(), 7u);
}

}  // namespace
}  // namespace etalon::io
