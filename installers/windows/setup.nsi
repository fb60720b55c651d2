; The setup for one user: no administrator, no service, nothing outside the user's own folders and registry.
;
; Told by whoever compiles it (`cargo xtask bundle windows` does):
;   VERSION  the version, as 0.1.0
;   FROM     the folder with the built programs
;   TOP      the top of the repository
;   OUT      the setup to write
; A line `File` here has its line `Delete` in the section Uninstall; a test compares the two.

; The 64-bit setup that Debian's NSIS can make. The usual 32-bit one would not start where there is only a 64-bit Wine.
Target amd64-unicode
SetCompressor /SOLID lzma
ManifestDPIAware true
RequestExecutionLevel user

!include "MUI2.nsh"
!include "FileFunc.nsh"

!define NAME "Chrysalis"
!define KEY "Software\Microsoft\Windows\CurrentVersion\Uninstall\Chrysalis"
; What the worker's container is called; crates/sandbox/src/windows/container.rs has it too.
!define CONTAINER "Chrysalis.Worker"
; Microsoft's number for the web view that shows the window, and where its readers can get it.
!define WEBVIEW "Microsoft\EdgeUpdate\Clients\{F3017226-FE2A-4295-8BDF-00C3A9A7E4C5}"
!define WEBVIEW_PAGE "https://developer.microsoft.com/microsoft-edge/webview2/"

Name "${NAME}"
OutFile "${OUT}"
InstallDir "$LOCALAPPDATA\Programs\${NAME}"
InstallDirRegKey HKCU "${KEY}" "InstallLocation"

VIProductVersion "${VERSION}.0"
VIAddVersionKey "ProductName" "${NAME}"
VIAddVersionKey "ProductVersion" "${VERSION}"
VIAddVersionKey "FileVersion" "${VERSION}"
VIAddVersionKey "FileDescription" "${NAME} setup"
VIAddVersionKey "LegalCopyright" "Apache-2.0"

!define MUI_ICON "${TOP}/icons/icon.ico"
!define MUI_UNICON "${TOP}/icons/icon.ico"
!define MUI_FINISHPAGE_RUN "$INSTDIR\chrysalis.exe"
!define MUI_FINISHPAGE_RUN_NOTCHECKED
!insertmacro MUI_PAGE_LICENSE "${TOP}/LICENSE"
!insertmacro MUI_PAGE_DIRECTORY
!insertmacro MUI_PAGE_INSTFILES
!insertmacro MUI_PAGE_FINISH
!insertmacro MUI_UNPAGE_CONFIRM
!insertmacro MUI_UNPAGE_INSTFILES
!insertmacro MUI_LANGUAGE "English"

; A program that runs can't be replaced or removed. It is not ended from here: it may be in the middle of a paid answer.
; Asks the owner to quit it, again and again; a silent run ends with code 2 and has changed nothing.
!macro LeaveAloneWhileRunning PROGRAM
  !define PLACE "place${__COUNTER__}"
  ${PLACE}_again:
  IfFileExists "$INSTDIR\${PROGRAM}" 0 ${PLACE}_done
  ClearErrors
  FileOpen $0 "$INSTDIR\${PROGRAM}" a
  IfErrors 0 ${PLACE}_closed
  MessageBox MB_RETRYCANCEL|MB_ICONEXCLAMATION "${NAME} is running. Choose Quit in the menu of its icon beside the clock, then Retry." \
    /SD IDCANCEL IDRETRY ${PLACE}_again
  SetErrorLevel 2
  Quit
  ${PLACE}_closed:
  FileClose $0
  ${PLACE}_done:
  !undef PLACE
!macroend

!macro LeaveAloneWhatRuns
  !insertmacro LeaveAloneWhileRunning "chrysalis.exe"
  !insertmacro LeaveAloneWhileRunning "chrysalis-worker.exe"
  !insertmacro LeaveAloneWhileRunning "chrysalis-network.exe"
!macroend

Section "${NAME}"
  !insertmacro LeaveAloneWhatRuns
  SetOutPath "$INSTDIR"
  ClearErrors
  File "${FROM}/chrysalis.exe"
  File "${FROM}/chrysalis-worker.exe"
  File "${FROM}/chrysalis-network.exe"
  File "${FROM}/WebView2Loader.dll"
  File "/oname=LICENSE.txt" "${TOP}/LICENSE"
  IfErrors 0 written
  MessageBox MB_OK|MB_ICONSTOP "The programs can't be written to $INSTDIR." /SD IDOK
  SetErrorLevel 2
  Quit
  written:
  WriteUninstaller "$INSTDIR\uninstall.exe"
  CreateShortcut "$SMPROGRAMS\${NAME}.lnk" "$INSTDIR\chrysalis.exe"
  WriteRegStr HKCU "${KEY}" "DisplayName" "${NAME}"
  WriteRegStr HKCU "${KEY}" "DisplayVersion" "${VERSION}"
  WriteRegStr HKCU "${KEY}" "DisplayIcon" "$INSTDIR\chrysalis.exe"
  WriteRegStr HKCU "${KEY}" "InstallLocation" "$INSTDIR"
  WriteRegStr HKCU "${KEY}" "UninstallString" '"$INSTDIR\uninstall.exe"'
  WriteRegStr HKCU "${KEY}" "QuietUninstallString" '"$INSTDIR\uninstall.exe" /S'
  WriteRegDWORD HKCU "${KEY}" "NoModify" 1
  WriteRegDWORD HKCU "${KEY}" "NoRepair" 1
  ${GetSize} "$INSTDIR" "/S=0K" $0 $1 $2
  WriteRegDWORD HKCU "${KEY}" "EstimatedSize" $0
SectionEnd

; Windows 11 has the web view, Windows 10 nearly always. Without it everything works but the window, so nothing is held up.
; Where it was removed, its entry can stay with an empty version, or with 0.0.0.0.
!macro DoneIfWebViewIsIn ROOT PATH
  ReadRegStr $0 ${ROOT} "${PATH}" "pv"
  StrCmp $0 "" +2
  StrCmp $0 "0.0.0.0" 0 webview_is_there
!macroend

Section
  !insertmacro DoneIfWebViewIsIn HKLM "SOFTWARE\WOW6432Node\${WEBVIEW}"
  !insertmacro DoneIfWebViewIsIn HKCU "SOFTWARE\${WEBVIEW}"
  MessageBox MB_YESNO|MB_ICONINFORMATION "The window of ${NAME} needs Microsoft's WebView2, which this PC does not have. Open Microsoft's page with it?" \
    /SD IDNO IDNO webview_is_there
  ExecShell "open" "${WEBVIEW_PAGE}"
  webview_is_there:
SectionEnd

; The owner's ledger and models are in %LOCALAPPDATA%\chrysalis and stay. So does the firewall's rule, if the owner asked for it: taking it
; away needs an administrator, and it stops nothing but a program that is gone.
Section "Uninstall"
  !insertmacro LeaveAloneWhatRuns
  Delete "$INSTDIR\chrysalis.exe"
  Delete "$INSTDIR\chrysalis-worker.exe"
  Delete "$INSTDIR\chrysalis-network.exe"
  Delete "$INSTDIR\WebView2Loader.dll"
  Delete "$INSTDIR\LICENSE.txt"
  Delete "$INSTDIR\uninstall.exe"
  ; Only if it is empty: whatever else somebody has put there is not ours.
  RMDir "$INSTDIR"
  Delete "$SMPROGRAMS\${NAME}.lnk"
  DeleteRegKey HKCU "${KEY}"
  ; The container that the worker ran in, with the folder that Windows made for it. Where there is none the answer means nothing.
  System::Call 'userenv::DeleteAppContainerProfile(w "${CONTAINER}") i .r0'
SectionEnd
