; Adit's setup program, for people who have no use for Windows Installer. It does what the MSI does, and removes only what it has
; installed. Silent: /S, with /AUTOSTART=1, /PROFILE=FILE and /POLICY=FILE; the uninstaller takes /S and /REMOVEDATA=1.
Target amd64-unicode
!include LogicLib.nsh
!include WinVer.nsh
!include x64.nsh

Name "Adit"
OutFile "<<.Out>>"
Icon "${FILES}/adit.ico"
UninstallIcon "${FILES}/adit.ico"
RequestExecutionLevel admin
SetCompressor /SOLID lzma
ShowInstDetails nevershow
ShowUninstDetails nevershow
BrandingText "Adit <<.Version>>"
VIProductVersion "<<.Number>>.0"
VIAddVersionKey ProductName "Adit"
VIAddVersionKey FileDescription "Adit setup"
VIAddVersionKey FileVersion "<<.Version>>"
VIAddVersionKey ProductVersion "<<.Version>>"
VIAddVersionKey CompanyName "<<.Publisher>>"
VIAddVersionKey LegalCopyright "<<.Publisher>>"
<<if .Sign>>!uninstfinalize '"<<.Sign>>" "%1"' = 0
<<end>>
!define UNINSTALL "SOFTWARE\Microsoft\Windows\CurrentVersion\Uninstall\Adit"
!define RUN "SOFTWARE\Microsoft\Windows\CurrentVersion\Run"
!define EVENTS "SYSTEM\CurrentControlSet\Services\EventLog\Application\<<.Service>>"
!define PATHS "SYSTEM\CurrentControlSet\Control\Session Manager\Environment"

Page instfiles
UninstPage uninstConfirm
UninstPage instfiles

; Words of the exit code: 0 done, 1 cancelled, 2 failed.
!macro Fail text
  DetailPrint "${text}"
  MessageBox MB_OK|MB_ICONSTOP "${text}" /SD IDOK
  SetErrorLevel 2
  Quit
!macroend

!macro System command
  nsExec::Exec `${command}`
  Pop $0
!macroend

; $3 is what stands behind the option $2 on the command line, by Windows' own rules for quotes: PowerShell writes "/PROFILE=C:\a b",
; which FileFunc.nsh does not find.
!macro Given un
Function ${un}Given
  StrCpy $3 ""
  StrLen $7 $2
  System::Call "kernel32::GetCommandLineW() p.r4"
  System::Call "shell32::CommandLineToArgvW(p r4, *i .r5) p.r6"
  StrCpy $8 0
  ${While} $8 < $5
    IntOp $9 $8 * 8
    IntPtrOp $9 $9 + $6
    System::Call "*$9(p .r9)"
    System::Call "kernel32::lstrcpynW(w .r1, p r9, i ${NSIS_MAX_STRLEN})"
    StrCpy $0 $1 $7
    ${If} $0 == $2
      StrCpy $3 $1 "" $7
    ${EndIf}
    IntOp $8 $8 + 1
  ${EndWhile}
  System::Call "kernel32::LocalFree(p r6)"
FunctionEnd
!macroend
!insertmacro Given ""
!insertmacro Given "un."

; Where others may not write: whatever /D= says.
Function .onInit
  SetRegView 64
  SetShellVarContext all
  StrCpy $INSTDIR "$PROGRAMFILES64\Adit"
  ${IfNot} ${AtLeastWin10}
    !insertmacro Fail "Adit needs Windows 10, Windows Server 2016 or newer."
  ${EndIf}
  ReadRegStr $0 HKLM "${PATHS}" "PROCESSOR_ARCHITECTURE"
  ${If} $0 == "ARM64"
    !insertmacro Fail "This computer has an Arm processor: install Adit's package for arm64."
  ${EndIf}
  ReadRegStr $0 HKLM "${UNINSTALL}" "UninstallString"
  ${If} $0 == ""
  ${AndIf} ${FileExists} "$INSTDIR\aditd.exe"
    !insertmacro Fail "Adit was installed by its MSI package. Remove it first, under Settings, Apps; profiles stay."
  ${EndIf}
FunctionEnd

!macro Stop
<<- if .Gui>>
  !insertmacro System `"$SYSDIR\taskkill.exe" /F /IM adit-gui.exe`
<<- end>>
  ; net waits until the service has stopped.
  !insertmacro System `"$SYSDIR\net.exe" stop <<.Service>>`
!macroend

Section
  !insertmacro Stop
  SetOutPath "$INSTDIR"
<<- range .Files>>
  File "${FILES}/<<.>>"
<<- end>>
  WriteUninstaller "$INSTDIR\uninstall.exe"

  WriteRegExpandStr HKLM "${EVENTS}" "EventMessageFile" "%SystemRoot%\System32\EventCreate.exe"
  WriteRegDWORD HKLM "${EVENTS}" "TypesSupported" 7
  WriteRegDWORD HKLM "${EVENTS}" "CustomSource" 1
<<- if .Gui>>
  CreateShortcut "$SMPROGRAMS\Adit.lnk" "$INSTDIR\adit-gui.exe"
  WriteRegStr HKLM "SOFTWARE\RegisteredApplications" "Adit" "SOFTWARE\Adit\Capabilities"
  WriteRegStr HKLM "SOFTWARE\Adit\Capabilities" "ApplicationName" "Adit"
  WriteRegStr HKLM "SOFTWARE\Adit\Capabilities" "ApplicationDescription" "Connect to OpenVPN and AWS Client VPN servers"
  WriteRegStr HKLM "SOFTWARE\Adit\Capabilities\FileAssociations" ".ovpn" "Adit.Profile"
  WriteRegStr HKLM "SOFTWARE\Adit\Capabilities\URLAssociations" "openvpn" "Adit.Link"
  WriteRegStr HKLM "SOFTWARE\Classes\Adit.Profile" "" "OpenVPN profile"
  WriteRegStr HKLM "SOFTWARE\Classes\Adit.Profile\DefaultIcon" "" "$INSTDIR\adit-gui.exe,0"
  WriteRegStr HKLM "SOFTWARE\Classes\Adit.Profile\shell\open\command" "" '"$INSTDIR\adit-gui.exe" -- "%1"'
  WriteRegStr HKLM "SOFTWARE\Classes\Adit.Link" "" "URL:OpenVPN profile"
  WriteRegStr HKLM "SOFTWARE\Classes\Adit.Link" "URL Protocol" ""
  WriteRegStr HKLM "SOFTWARE\Classes\Adit.Link\shell\open\command" "" '"$INSTDIR\adit-gui.exe" -- "%1"'
  WriteRegStr HKLM "SOFTWARE\Classes\.ovpn\OpenWithProgids" "Adit.Profile" ""
  ReadRegStr $0 HKLM "SOFTWARE\Classes\.ovpn" ""
  ${If} $0 == ""
    WriteRegStr HKLM "SOFTWARE\Classes\.ovpn" "" "Adit.Profile"
  ${EndIf}
  StrCpy $2 "/AUTOSTART="
  Call Given
  ${If} $3 == "1"
    WriteRegStr HKLM "${RUN}" "Adit" '"$INSTDIR\adit-gui.exe" --hidden'
  ${ElseIf} $3 == "0"
    DeleteRegValue HKLM "${RUN}" "Adit"
  ${EndIf}
<<- end>>

  WriteRegStr HKLM "${UNINSTALL}" "DisplayName" "Adit"
  WriteRegStr HKLM "${UNINSTALL}" "DisplayVersion" "<<.Version>>"
  WriteRegStr HKLM "${UNINSTALL}" "Publisher" "<<.Publisher>>"
  WriteRegStr HKLM "${UNINSTALL}" "URLInfoAbout" "<<.Home>>"
  WriteRegStr HKLM "${UNINSTALL}" "DisplayIcon" "$INSTDIR\uninstall.exe"
  WriteRegStr HKLM "${UNINSTALL}" "InstallLocation" "$INSTDIR"
  WriteRegStr HKLM "${UNINSTALL}" "UninstallString" '"$INSTDIR\uninstall.exe"'
  WriteRegStr HKLM "${UNINSTALL}" "QuietUninstallString" '"$INSTDIR\uninstall.exe" /S'
  WriteRegDWORD HKLM "${UNINSTALL}" "NoModify" 1
  WriteRegDWORD HKLM "${UNINSTALL}" "NoRepair" 1

  ; Fails where the service is there already, from an older version: its program is the same file.
  !insertmacro System `"$SYSDIR\sc.exe" create <<.Service>> binPath= "\"$INSTDIR\aditd.exe\"" start= auto DisplayName= "<<.Title>>" depend= <<.Needs>>`
  !insertmacro System `"$SYSDIR\sc.exe" description <<.Service>> "<<.Text>>"`
  !insertmacro System `"$SYSDIR\sc.exe" failure <<.Service>> <<.Recovery>>`
  !insertmacro System `"$SYSDIR\sc.exe" failureflag <<.Service>> 1`
  !insertmacro System `"$SYSDIR\sc.exe" sidtype <<.Service>> unrestricted`

  StrCpy $2 "/PROFILE="
  Call Given
  ${If} $3 != ""
    !insertmacro System `"$INSTDIR\aditd.exe" provision --profile "$3"`
    ${If} $0 != 0
      !insertmacro Fail "The profile $3 cannot be used. To see why: aditd provision --profile FILE"
    ${EndIf}
  ${EndIf}
  StrCpy $2 "/POLICY="
  Call Given
  ${If} $3 != ""
    !insertmacro System `"$INSTDIR\aditd.exe" provision --policy "$3"`
    ${If} $0 != 0
      !insertmacro Fail "The policy $3 cannot be used. To see why: aditd provision --policy FILE"
    ${EndIf}
  ${EndIf}
  !insertmacro System `"$SYSDIR\net.exe" start <<.Service>>`
  ${If} $0 != 0
    !insertmacro Fail "The service does not start. The event log (Application, Adit) says why."
  ${EndIf}
SectionEnd

Function un.onInit
  SetRegView 64
  SetShellVarContext all
  StrCpy $INSTDIR "$PROGRAMFILES64\Adit"
FunctionEnd

Section Uninstall
  !insertmacro Stop
  StrCpy $2 "/REMOVEDATA="
  Call un.Given
  ${If} $3 == "1"
    !insertmacro System `"$INSTDIR\aditd.exe" cleanup --purge`
  ${Else}
    !insertmacro System `"$INSTDIR\aditd.exe" cleanup`
  ${EndIf}
  !insertmacro System `"$SYSDIR\sc.exe" delete <<.Service>>`
<<- if .Gui>>
  Delete "$SMPROGRAMS\Adit.lnk"
  DeleteRegValue HKLM "SOFTWARE\RegisteredApplications" "Adit"
  DeleteRegKey HKLM "SOFTWARE\Adit"
  DeleteRegKey HKLM "SOFTWARE\Classes\Adit.Profile"
  DeleteRegKey HKLM "SOFTWARE\Classes\Adit.Link"
  DeleteRegValue HKLM "SOFTWARE\Classes\.ovpn\OpenWithProgids" "Adit.Profile"
  DeleteRegKey /ifempty HKLM "SOFTWARE\Classes\.ovpn\OpenWithProgids"
  ReadRegStr $0 HKLM "SOFTWARE\Classes\.ovpn" ""
  ${If} $0 == "Adit.Profile"
    DeleteRegValue HKLM "SOFTWARE\Classes\.ovpn" ""
  ${EndIf}
  DeleteRegKey /ifempty HKLM "SOFTWARE\Classes\.ovpn"
  DeleteRegValue HKLM "${RUN}" "Adit"
<<- end>>
  DeleteRegKey HKLM "${EVENTS}"
  DeleteRegKey HKLM "${UNINSTALL}"
<<- range .Files>>
  Delete "$INSTDIR\<<.>>"
<<- end>>
  Delete "$INSTDIR\uninstall.exe"
  RMDir "$INSTDIR"
SectionEnd
