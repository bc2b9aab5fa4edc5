// The header twice in one file, and in two files of one program: this file is compiled with and without OTHER.
#include "dicast.hpp"

dicast::Request make();

#ifdef OTHER
dicast::Request make() { return dicast::Request("p", "q", {{"a", "b"}}); }
#else
int main() { return dicast::Prompt(dicast::Profile::builtin(), make()).messages().empty() ? 1 : 0; }
#endif
