; Adit's setup program, for people who have no use for Windows Installer. It does what the MSI does, and removes only what it has
; installed. Silent: /S, with /AUTOSTART=1, /PROFILE=FILE, /POLICY=FILE, /AWSCLI=1 and /DOWNGRADE=1; the uninstaller takes /S,
; /REMOVEDATA=1 and /SKIPCLEANUP=1.
Target amd64-unicode
!include LogicLib.nsh
!include WinVer.nsh
!include WordFunc.nsh
!include x64.nsh

Name "Adit"
OutFile "<<.Out>>"
Icon "${FILES}/adit.ico"
UninstallIcon "${FILES}/adit.ico"
RequestExecutionLevel admin
SetCompressor /SOLID lzma
; A file that cannot be written ends it: a silent setup would leave it out, and say that all is well.
AllowSkipFiles off
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

; The service runs again with what is there.
!macro Undone text
  nsExec::Exec `"$SYSDIR\net.exe" start <<.Service>>`
  Pop $0
  !insertmacro Fail "${text}"
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

; $0 is "" if the program $2 can be replaced, which it cannot while it runs: programs take a moment to end.
!macro Free un
Function ${un}Free
  StrCpy $0 ""
  ${For} $1 1 20
    ${IfNot} ${FileExists} "$2"
      Return
    ${EndIf}
    ClearErrors
    FileOpen $3 "$2" a
    ${IfNot} ${Errors}
      FileClose $3
      Return
    ${EndIf}
    Sleep 500
  ${Next}
  StrCpy $0 "$2"
FunctionEnd
!macroend
!insertmacro Free ""
!insertmacro Free "un."

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
  System::Call 'msi::MsiEnumRelatedProductsW(w "<<.UpgradeCode>>", i 0, i 0, w .r1) i .r0'
  ${If} $0 == "0"
    !insertmacro Fail "Adit was installed by its MSI package. Remove it first, under Settings, Apps; profiles stay."
  ${EndIf}
  StrCpy $2 "/DOWNGRADE="
  Call Given
  ReadRegStr $0 HKLM "${UNINSTALL}" "Number"
  ${VersionCompare} "$0" "<<.Number>>" $1
  ${If} $1 == "1"
  ${AndIf} $3 != "1"
    !insertmacro Fail "A newer version of Adit is installed. To go back to <<.Version>>, start this with /DOWNGRADE=1."
  ${EndIf}
FunctionEnd

; After a file that cannot be written.
Function .onInstFailed
  !insertmacro System `"$SYSDIR\net.exe" start <<.Service>>`
FunctionEnd

!macro Stop
<<- if .Gui>>
  !insertmacro System `"$SYSDIR\taskkill.exe" /F /IM adit-gui.exe`
<<- end>>
  ; net waits until the service has stopped.
  !insertmacro System `"$SYSDIR\net.exe" stop <<.Service>>`
!macroend

; What was given behind an option is looked at while the tunnels are still there.
!macro Check option flag what
  StrCpy $2 "${option}="
  Call Given
  ${If} $3 != ""
    !insertmacro System `"$PLUGINSDIR\aditd.exe" provision ${flag} "$3" --check`
    ${If} $0 != 0
      !insertmacro Fail "The ${what} $3 cannot be used. To see why: aditd provision ${flag} FILE --check"
    ${EndIf}
  ${EndIf}
!macroend

!macro Provide option flag what
  StrCpy $2 "${option}="
  Call Given
  ${If} $3 != ""
    !insertmacro System `"$INSTDIR\aditd.exe" provision ${flag} "$3"`
    ${If} $0 != 0
      !insertmacro Undone "The ${what} $3 cannot be used. To see why: aditd provision ${flag} FILE"
    ${EndIf}
  ${EndIf}
!macroend

Section
  InitPluginsDir
  File "/oname=$PLUGINSDIR\aditd.exe" "${FILES}/aditd.exe"
  !insertmacro Check "/PROFILE" "--profile" "profile"
  !insertmacro Check "/POLICY" "--policy" "policy"

  ; Whatever follows starts the service again: until then it leaves closed guards closed.
  !insertmacro System `"$PLUGINSDIR\aditd.exe" restarting`
  !insertmacro Stop
<<- range .Programs>>
  StrCpy $2 "$INSTDIR\<<.>>"
  Call Free
  ${If} $0 != ""
    !insertmacro Undone "$2 is in use. Nothing was changed: end it, and start this again."
  ${EndIf}
<<- end>>

  ; First what removes the rest: whatever ends this in between, it can be started again, or undone.
  SetOutPath "$INSTDIR"
  WriteUninstaller "$INSTDIR\uninstall.exe"
  WriteRegStr HKLM "${UNINSTALL}" "DisplayName" "Adit"
  WriteRegStr HKLM "${UNINSTALL}" "DisplayVersion" "<<.Version>>"
  WriteRegStr HKLM "${UNINSTALL}" "Number" "<<.Number>>"
  WriteRegStr HKLM "${UNINSTALL}" "Publisher" "<<.Publisher>>"
  WriteRegStr HKLM "${UNINSTALL}" "URLInfoAbout" "<<.Home>>"
  WriteRegStr HKLM "${UNINSTALL}" "DisplayIcon" "$INSTDIR\uninstall.exe"
  WriteRegStr HKLM "${UNINSTALL}" "InstallLocation" "$INSTDIR"
  WriteRegStr HKLM "${UNINSTALL}" "UninstallString" '"$INSTDIR\uninstall.exe"'
  WriteRegStr HKLM "${UNINSTALL}" "QuietUninstallString" '"$INSTDIR\uninstall.exe" /S'
  WriteRegDWORD HKLM "${UNINSTALL}" "NoModify" 1
  WriteRegDWORD HKLM "${UNINSTALL}" "NoRepair" 1
<<- range .Files>>
  File "${FILES}/<<.>>"
<<- end>>
  ; What has the name of AWS's command is there for who asks for it, and stays.
  StrCpy $2 "/AWSCLI="
  Call Given
  ${If} $3 == ""
  ${AndIf} ${FileExists} "$INSTDIR\<<.Aws>>\aws-vpn-client.exe"
    StrCpy $3 "1"
  ${EndIf}
  ${If} $3 == "1"
    SetOutPath "$INSTDIR\<<.Aws>>"
    File "${FILES}/aws-vpn-client.exe"
    SetOutPath "$INSTDIR"
  ${Else}
    Delete "$INSTDIR\<<.Aws>>\aws-vpn-client.exe"
    RMDir "$INSTDIR\<<.Aws>>"
  ${EndIf}

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

  ; Fails where the service is there already, from an older version: its program is the same file.
  !insertmacro System `"$SYSDIR\sc.exe" create <<.Service>> binPath= "\"$INSTDIR\aditd.exe\"" start= auto DisplayName= "<<.Title>>" depend= <<.Needs>>`
  !insertmacro System `"$SYSDIR\sc.exe" description <<.Service>> "<<.Text>>"`
  !insertmacro System `"$SYSDIR\sc.exe" failure <<.Service>> <<.Recovery>>`
  !insertmacro System `"$SYSDIR\sc.exe" failureflag <<.Service>> 1`
  !insertmacro System `"$SYSDIR\sc.exe" sidtype <<.Service>> unrestricted`

  !insertmacro Provide "/PROFILE" "--profile" "profile"
  !insertmacro Provide "/POLICY" "--policy" "policy"
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
  StrCpy $2 "$INSTDIR\aditd.exe"
  Call un.Free
  ${If} $0 != ""
    !insertmacro Undone "$2 is in use. Nothing was removed."
  ${EndIf}
  StrCpy $2 "/REMOVEDATA="
  Call un.Given
  StrCpy $R0 "cleanup"
  ${If} $3 == "1"
    StrCpy $R0 "cleanup --purge"
  ${EndIf}
  StrCpy $2 "/SKIPCLEANUP="
  Call un.Given
  ; Nothing else undoes what a crash has left of the guard. It is not there where a setup ended too early.
  ${If} $3 != "1"
  ${AndIf} ${FileExists} "$INSTDIR\aditd.exe"
    !insertmacro System `"$INSTDIR\aditd.exe" $R0`
    ${If} $0 != 0
      !insertmacro Undone "What Adit has changed cannot be undone; the programs stay. To see why: aditd $R0"
    ${EndIf}
  ${EndIf}
  !insertmacro System `"$SYSDIR\sc.exe" delete <<.Service>>`
<<- if .Gui>>
  Delete "$SMPROGRAMS\Adit.lnk"
  DeleteRegValue HKLM "SOFTWARE\RegisteredApplications" "Adit"
  DeleteRegKey HKLM "SOFTWARE\Adit\Capabilities"
  DeleteRegKey /ifempty HKLM "SOFTWARE\Adit"
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
  Delete "$INSTDIR\<<.Aws>>\aws-vpn-client.exe"
  RMDir "$INSTDIR\<<.Aws>>"
  Delete "$INSTDIR\uninstall.exe"
  RMDir "$INSTDIR"
SectionEnd
