/* For Wine before version 9 only, and only in the tests' own Windows: the one function that Rust's standard library wants from
   bcryptprimitives.dll, made of an older function with the same meaning. Never shipped. */
#include <windows.h>

BOOLEAN NTAPI SystemFunction036(PVOID bytes, ULONG length);

__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE bytes, SIZE_T length) {
  const SIZE_T most = 1u << 20;
  SIZE_T done = 0;
  while (done < length) {
    SIZE_T part = length - done < most ? length - done : most;
    if (!SystemFunction036(bytes + done, (ULONG)part)) return FALSE;
    done += part;
  }
  return TRUE;
}
