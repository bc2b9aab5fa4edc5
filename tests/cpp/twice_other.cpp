// See twice.cpp.
#include "dicast.hpp"
#include "dicast.hpp"

dicast::Request make();

dicast::Request make() { return dicast::Request("p", "q", {{"a", "b"}}); }
