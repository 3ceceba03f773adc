; Adit's setup program, for people who have no use for Windows Installer. It does what the MSI does, and removes only what it has
; installed. Silent: /S, with /AUTOSTART=1, /PROFILE=FILE and /POLICY=FILE; the uninstaller takes /S and /REMOVEDATA=1.
Target amd64-unicode
!include FileFunc.nsh
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
  ${GetParameters} $1
  ClearErrors
  ${GetOptions} $1 "/AUTOSTART=" $0
  ${If} $0 == "1"
    WriteRegStr HKLM "${RUN}" "Adit" '"$INSTDIR\adit-gui.exe" --hidden'
  ${ElseIf} $0 == "0"
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
  !insertmacro System `"$SYSDIR\sc.exe" create <<.Service>> binPath= "\"$INSTDIR\aditd.exe\"" start= auto depend= <<.Needs>> DisplayName= "<<.Title>>"`
  !insertmacro System `"$SYSDIR\sc.exe" description <<.Service>> "<<.Text>>"`
  !insertmacro System `"$SYSDIR\sc.exe" failure <<.Service>> <<.Recovery>>`
  !insertmacro System `"$SYSDIR\sc.exe" failureflag <<.Service>> 1`
  !insertmacro System `"$SYSDIR\sc.exe" sidtype <<.Service>> unrestricted`

  ${GetParameters} $1
  ClearErrors
  ${GetOptions} $1 "/PROFILE=" $2
  ${IfNot} ${Errors}
    !insertmacro System `"$INSTDIR\aditd.exe" provision --profile "$2"`
    ${If} $0 != 0
      !insertmacro Fail "The profile $2 cannot be used. To see why: aditd provision --profile FILE"
    ${EndIf}
  ${EndIf}
  ClearErrors
  ${GetOptions} $1 "/POLICY=" $2
  ${IfNot} ${Errors}
    !insertmacro System `"$INSTDIR\aditd.exe" provision --policy "$2"`
    ${If} $0 != 0
      !insertmacro Fail "The policy $2 cannot be used. To see why: aditd provision --policy FILE"
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
  ${GetParameters} $1
  ClearErrors
  ${GetOptions} $1 "/REMOVEDATA=" $2
  ${If} $2 == "1"
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
