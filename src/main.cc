#include "cli/app.h"

int main(int argc, char** argv) { return etalon::cli::Main(argc, argv); }
