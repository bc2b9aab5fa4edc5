// See twice.cpp.
// clang-format off
#include "dicast.hpp"
#include "dicast.hpp"
// clang-format on

dicast::Request make();

dicast::Request make() { return dicast::Request("p", "q", {{"a", "b"}}); }
