/* Starts what stands behind it on the command line and ends as that does. The program gets no standard handles, as those have whose
   file says that they bring no console: it must find the one it was started from by itself. */
#include <windows.h>

int main(void) {
  wchar_t *rest = GetCommandLineW();
  int quoted = 0;
  for (; *rest && (quoted || *rest != L' '); rest++)
    if (*rest == L'"') quoted = !quoted;
  while (*rest == L' ') rest++;
  STARTUPINFOW how = {.cb = sizeof how, .dwFlags = STARTF_USESTDHANDLES};
  PROCESS_INFORMATION started;
  DWORD code = 255;
  if (!CreateProcessW(NULL, rest, NULL, NULL, FALSE, 0, NULL, NULL, &how, &started)) return 254;
  WaitForSingleObject(started.hProcess, INFINITE);
  GetExitCodeProcess(started.hProcess, &code);
  return (int)code;
}
