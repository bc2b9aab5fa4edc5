// Dicast stand-in for tests: replaces CUDA's header, which the vendor's headers include. No part of CUDA.
#pragma once

struct half
{
    unsigned short bits;
};
