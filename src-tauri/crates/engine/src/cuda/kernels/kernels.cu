// All kernels, as one module. `cargo xtask kernels` compiles it to kernels.ptx and writes kernels.json.
#include "numbers.h"
#include "blocks.h"
#include "activations.h"
#include "product.h"
#include "attention.h"
#include "experts.h"
#include "find.h"
