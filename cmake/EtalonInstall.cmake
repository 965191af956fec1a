include(GNUInstallDirs)
install(TARGETS etalon)
