package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/adit-vpn/adit/platform/svc"
)

// What stays the same for as long as there is an Adit.
const (
	upgradeCode  = "{7CB5C633-981F-40D8-A4F3-E7AFC717BBBE}"
	manufacturer = "The Adit authors"
	homePage     = "https://github.com/adit-vpn/adit"
)

// recovery is what sc.exe is told to do where the service fails.
func recovery() string {
	var actions []string
	for _, pause := range svc.Restarts() {
		actions = append(actions, fmt.Sprintf("restart/%d", pause.Milliseconds()))
	}
	return fmt.Sprintf("reset= %d actions= %s", int(svc.Calm.Seconds()), strings.Join(actions, "/"))
}

// product is what one package installs.
type product struct {
	version string // as people write it
	number  string // as Windows Installer counts
	arch    string // amd64, arm64
	files   []file
}

// template is the processor and the language of the package.
func (p product) template() string {
	if p.arch == "arm64" {
		return "Arm64;1033"
	}
	return "x64;1033"
}

// code is the product's GUID: another for each version, the same whenever that version is built.
func (p product) code() string { return named("product", p.arch, p.version) }

// Types of custom actions ("Custom Action Reference", learn.microsoft.com).
const (
	installedProgram = 18 // the source is a file of this package
	foundProgram     = 34 // the source is a directory, the target a command line
	goOn             = 0x40
	noWait           = 0xc0 // and no look at the exit code
	deferred         = 0x400
	asSystem         = 0x800 // not as who installs
)

// Events of a service ("ServiceControl Table", learn.microsoft.com): start it when it is installed; stop it before that and when
// it is removed; then delete it.
const serviceEvents = 1 | 2 | 32 | 128

// Bits of components, features and versions of upgrades.
const (
	keyIsValue     = 4
	is64Bit        = 0x100
	cannotLeaveOut = 16
	unlessAsked    = 2 // the level of a feature above what is installed without a word
	migrate        = 1
	fromIncluded   = 0x100
	toIncluded     = 0x200
)

// tables are the whole database but its summary. cab is the name of the cabinet's stream.
//
// The folder has a private name ("InstallDir"), so that nobody installs the service where others may write. The properties
// PROFILE and POLICY are public but not "secure": Windows Installer drops them where somebody without rights starts what it
// then does as the system. See docs/attack-surface.md.
func (p product) tables(cab string) []table {
	gui, wintun := has(p.files, "adit-gui.exe"), has(p.files, "wintun.dll")
	components := [][]any{}
	component := func(id, folder string, bits int, condition, key any) {
		components = append(components, []any{id, named("component", p.arch, id), folder, bits | is64Bit, condition, key})
	}
	var files, parts [][]any
	for i, f := range p.files {
		folder := "InstallDir"
		if f.folder == awsFolder {
			folder = "AwsDir"
		}
		component(f.component(), folder, 0, nil, f.key())
		files = append(files, []any{f.key(), f.component(), shortName(f.name, i), fileSize(f.source), nil, nil, 512, i + 1})
		parts = append(parts, []any{f.feature, f.component()})
	}
	part := func(feature, id string) { parts = append(parts, []any{feature, id}) }
	registry := [][]any{}
	value := func(id, key string, name, text any, component string) {
		registry = append(registry, []any{id, 2, key, name, text, component})
	}
	search := [][]any{
		{"f_windows", 2, `SOFTWARE\Microsoft\Windows NT\CurrentVersion`, "CurrentMajorVersionNumber", 18},
		{"f_processor", 2, `SYSTEM\CurrentControlSet\Control\Session Manager\Environment`, "PROCESSOR_ARCHITECTURE", 18},
		{"f_setup", 2, `SOFTWARE\Microsoft\Windows\CurrentVersion\Uninstall\Adit`, "UninstallString", 18},
	}
	found := [][]any{{"WINDOWSMAJOR", "f_windows"}, {"NATIVEPROCESSOR", "f_processor"}, {"SETUPINSTALLED", "f_setup"}}

	const events = `SYSTEM\CurrentControlSet\Services\EventLog\Application\` + svc.Name
	component("c_events", "InstallDir", keyIsValue, nil, "r_events")
	part("Core", "c_events")
	value("r_events", events, "EventMessageFile", `#%%SystemRoot%\System32\EventCreate.exe`, "c_events")
	value("r_events_types", events, "TypesSupported", "#7", "c_events")
	value("r_events_custom", events, "CustomSource", "#1", "c_events")

	features := [][]any{{"Core", nil, "Adit", "The service, the command line and smart cards.", 1, 1, "InstallDir", cannotLeaveOut}}
	var shortcuts [][]any
	if gui {
		const app = "[#adit_gui.exe]"
		features = append(features, []any{"Gui", nil, "Desktop app", "The window and the icon beside the clock.", 3, 1, "InstallDir", 0})
		shortcuts = append(shortcuts, []any{"s_adit", "ProgramMenuFolder", "Adit", "c_adit_gui_exe", app, nil, "Connect to a VPN", nil, nil, nil, 1, "InstallDir"})
		search = append(search,
			[]any{"f_autostart", 2, `SOFTWARE\Microsoft\Windows\CurrentVersion\Run`, "Adit", 18},
			[]any{"f_profiles", 2, `SOFTWARE\Classes\.ovpn`, nil, 18},
			[]any{"f_links", 2, `SOFTWARE\Classes\openvpn\shell\open\command`, nil, 18})
		found = append(found, []any{"AUTOSTARTWAS", "f_autostart"}, []any{"PROFILESOPENWITH", "f_profiles"}, []any{"LINKSOPENWITH", "f_links"})

		component("c_autostart", "InstallDir", keyIsValue, `AUTOSTART = "1" OR (AUTOSTARTWAS AND AUTOSTART <> "0")`, "r_autostart")
		value("r_autostart", `SOFTWARE\Microsoft\Windows\CurrentVersion\Run`, "Adit", `"`+app+`" --hidden`, "c_autostart")

		// The app can always be chosen for profiles and links; it takes them over where no other program has them.
		const command = `"` + app + `" -- "%1"`
		component("c_choice", "InstallDir", keyIsValue, nil, "r_choice")
		for i, row := range [][3]any{
			{`SOFTWARE\RegisteredApplications`, "Adit", `SOFTWARE\Adit\Capabilities`},
			{`SOFTWARE\Adit\Capabilities`, "ApplicationName", "Adit"},
			{`SOFTWARE\Adit\Capabilities`, "ApplicationDescription", "Connect to OpenVPN and AWS Client VPN servers"},
			{`SOFTWARE\Adit\Capabilities\FileAssociations`, ".ovpn", "Adit.Profile"},
			{`SOFTWARE\Adit\Capabilities\URLAssociations`, "openvpn", "Adit.Link"},
			{`SOFTWARE\Classes\Adit.Profile`, nil, "OpenVPN profile"},
			{`SOFTWARE\Classes\Adit.Profile\DefaultIcon`, nil, app + ",0"},
			{`SOFTWARE\Classes\Adit.Profile\shell\open\command`, nil, command},
			{`SOFTWARE\Classes\Adit.Link`, nil, "URL:OpenVPN profile"},
			{`SOFTWARE\Classes\Adit.Link`, "URL Protocol", nil},
			{`SOFTWARE\Classes\Adit.Link\shell\open\command`, nil, command},
			{`SOFTWARE\Classes\.ovpn\OpenWithProgids`, "Adit.Profile", nil},
		} {
			id := "r_choice"
			if i > 0 {
				id += fmt.Sprint(i)
			}
			value(id, row[0].(string), row[1], row[2], "c_choice")
		}
		component("c_profiles", "InstallDir", keyIsValue, `NOT PROFILESOPENWITH OR PROFILESOPENWITH = "Adit.Profile"`, "r_profiles")
		value("r_profiles", `SOFTWARE\Classes\.ovpn`, nil, "Adit.Profile", "c_profiles")
		component("c_links", "InstallDir", keyIsValue, `NOT LINKSOPENWITH OR LINKSOPENWITH >< "adit-gui.exe"`, "r_links")
		value("r_links", `SOFTWARE\Classes\openvpn\shell\open\command`, nil, command, "c_links")
		value("r_links1", `SOFTWARE\Classes\openvpn`, nil, "URL:OpenVPN profile", "c_links")
		value("r_links2", `SOFTWARE\Classes\openvpn`, "URL Protocol", nil, "c_links")
		for _, id := range []string{"c_autostart", "c_choice", "c_profiles", "c_links"} {
			part("Gui", id)
		}
	}
	features = append(features, []any{"Endpoint", nil, "Endpoint", "A VPN server to test with.", 5, 1, "InstallDir", 0},
		[]any{"AwsCli", nil, "aws-vpn-client", "Stands in for the command of AWS's client, for scripts.", 7, unlessAsked, "AwsDir", 0})

	conditions := [][]any{
		{"Installed OR WINDOWSMAJOR", "Adit needs Windows 10, Windows Server 2016 or newer."},
		{`NOT NEWERFOUND OR DOWNGRADE = "1"`, "A newer version of Adit is installed. To go back to [ProductVersion], start this with DOWNGRADE=1."},
		{"Installed OR NOT SETUPINSTALLED", "Adit was installed by adit-setup.exe. Remove it first, under Settings, Apps; profiles stay."},
	}
	if p.arch == "amd64" { // Wintun's driver is of the machine's own processor
		conditions = append(conditions, []any{`Installed OR NATIVEPROCESSOR <> "ARM64"`, "This computer has an Arm processor: install adit's package for arm64."})
	}
	comments := "Wintun is included."
	if !wintun {
		comments = "Without Wintun: put wintun.dll beside aditd.exe before connecting."
	}
	return []table{
		{"Property", 1, []string{"Property s72", "Value l0"}, [][]any{
			{"ALLUSERS", 1}, {"ARPNOMODIFY", 1}, {"ARPURLINFOABOUT", homePage}, {"ARPCOMMENTS", comments}, {"ARPPRODUCTICON", "adit.ico"},
			{"Manufacturer", manufacturer}, {"ProductCode", p.code()}, {"ProductLanguage", 1033}, {"ProductName", "Adit"},
			{"ProductVersion", p.number}, {"UpgradeCode", upgradeCode},
			// What is there is always replaced, also by an older version: what an upgrade has removed must not count as there.
			{"REINSTALLMODE", "amus"},
			{"SecureCustomProperties", "AUTOSTART;DOWNGRADE;LAUNCH;REMOVEDATA;SKIPCLEANUP;NEWERFOUND;OLDERFOUND;SETUPINSTALLED;WINDOWSMAJOR;NATIVEPROCESSOR;AUTOSTARTWAS;PROFILESOPENWITH;LINKSOPENWITH"},
		}},
		{"Directory", 1, []string{"Directory s72", "Directory_Parent S72", "DefaultDir l255"}, [][]any{
			{"TARGETDIR", nil, "SourceDir"}, {"ProgramFiles64Folder", "TARGETDIR", "."}, {"InstallDir", "ProgramFiles64Folder", "Adit"},
			{"AwsDir", "InstallDir", awsFolder},
			{"ProgramMenuFolder", "TARGETDIR", "."}, {"System64Folder", "TARGETDIR", "."}, {"WindowsFolder", "TARGETDIR", "."},
		}},
		{"Component", 1, []string{"Component s72", "ComponentId S38", "Directory_ s72", "Attributes i2", "Condition S255", "KeyPath S72"}, components},
		{"Feature", 1, []string{"Feature s38", "Feature_Parent S38", "Title L64", "Description L255", "Display I2", "Level i2", "Directory_ S72", "Attributes i2"}, features},
		{"FeatureComponents", 2, []string{"Feature_ s38", "Component_ s72"}, parts},
		{"File", 1, []string{"File s72", "Component_ s72", "FileName l255", "FileSize i4", "Version S72", "Language S20", "Attributes I2", "Sequence i2"}, files},
		{"Media", 1, []string{"DiskId i2", "LastSequence i2", "DiskPrompt L64", "Cabinet S255", "VolumeLabel S32", "Source S72"}, [][]any{
			{1, len(p.files), nil, "#" + cab, nil, nil},
		}},
		{"Registry", 1, []string{"Registry s72", "Root i2", "Key l255", "Name L255", "Value L0", "Component_ s72"}, registry},
		{"Shortcut", 1, []string{"Shortcut s72", "Directory_ s72", "Name l128", "Component_ s72", "Target s72", "Arguments S255", "Description L255", "Hotkey I2", "Icon_ S72", "IconIndex I2", "ShowCmd I2", "WkDir S72"}, shortcuts},
		{"Environment", 1, []string{"Environment s72", "Name l255", "Value L255", "Component_ s72"}, [][]any{
			{"e_path", "=-*PATH", "[~];[InstallDir]", "c_adit_exe"},
			// At the end, too: behind AWS's own, where that is there already.
			{"e_path_aws", "=-*PATH", "[~];[AwsDir]", "c_aws_vpn_client_exe"},
		}},
		{"ServiceInstall", 1, []string{"ServiceInstall s72", "Name s255", "DisplayName L255", "ServiceType i4", "StartType i4", "ErrorControl i4", "LoadOrderGroup S255", "Dependencies S255", "StartName S255", "Password S255", "Arguments S255", "Component_ s72", "Description L255"}, [][]any{
			// A program of its own, that starts with Windows; without it the package does not install.
			{"i_service", svc.Name, svc.Title, 0x10, 2, 0x8001, nil, strings.Join(svc.Needs(), "[~]") + "[~][~]", nil, nil, nil, "c_aditd_exe", svc.Text},
		}},
		{"ServiceControl", 1, []string{"ServiceControl s72", "Name l255", "Event i2", "Arguments S255", "Wait I2", "Component_ s72"}, [][]any{
			{"v_service", svc.Name, serviceEvents, nil, 1, "c_aditd_exe"},
		}},
		{"Upgrade", 5, []string{"UpgradeCode s38", "VersionMin S20", "VersionMax S20", "Language S255", "Attributes i4", "Remove S255", "ActionProperty s72"}, [][]any{
			// Three numbers do not tell preliminary versions apart: the same number replaces itself.
			{upgradeCode, "0.0.0", p.number, nil, migrate | fromIncluded | toIncluded, nil, "OLDERFOUND"},
			{upgradeCode, p.number, nil, nil, migrate, nil, "NEWERFOUND"},
		}},
		{"LaunchCondition", 1, []string{"Condition s255", "Description l255"}, conditions},
		{"AppSearch", 2, []string{"Property s72", "Signature_ s72"}, found},
		{"RegLocator", 1, []string{"Signature_ s72", "Root i2", "Key s255", "Name S255", "Type I2"}, search},
		{"Error", 1, []string{"Error i2", "Message L0"}, [][]any{
			// Of a program that failed: its action, its path, its arguments.
			{1722, `[2] failed, and Adit is left as it was. Profile, Policy: what was given cannot be used. CleanUp, RemoveData: what Adit has changed on this computer cannot be undone. This says why, in an administrator's terminal: "[3]" [4]`},
		}},
		{"CustomAction", 1, []string{"Action s72", "Type i2", "Source S72", "Target S255"}, p.actions(gui)},
		{"InstallExecuteSequence", 1, sequenceColumns, p.sequence(gui)},
		{"InstallUISequence", 1, sequenceColumns, beginning(1300, "ExecuteAction")},
		{"AdminExecuteSequence", 1, sequenceColumns, plain("CostInitialize 800", "FileCost 900", "CostFinalize 1000", "InstallValidate 1400", "InstallInitialize 1500", "InstallAdminPackage 3900", "InstallFiles 4000", "InstallFinalize 6600")},
		{"AdminUISequence", 1, sequenceColumns, plain("CostInitialize 800", "FileCost 900", "CostFinalize 1000", "ExecuteAction 1300")},
		{"AdvtExecuteSequence", 1, sequenceColumns, plain("CostInitialize 800", "CostFinalize 1000", "InstallValidate 1400", "InstallInitialize 1500", "PublishFeatures 6300", "PublishProduct 6400", "InstallFinalize 6600")},
	}
}

// actions are what tables cannot say. aditd reads what the installer was given by itself, and looks closely at it.
func (p product) actions(gui bool) [][]any {
	sc := func(words string) string { return `"[System64Folder]sc.exe" ` + words }
	all := [][]any{
		{"Recovery", foundProgram | goOn | deferred | asSystem, "System64Folder", sc("failure " + svc.Name + " " + recovery())},
		{"RecoveryOfErrors", foundProgram | goOn | deferred | asSystem, "System64Folder", sc("failureflag " + svc.Name + " 1")},
		{"ServiceIdentity", foundProgram | goOn | deferred | asSystem, "System64Folder", sc("sidtype " + svc.Name + " unrestricted")},
		{"Profile", installedProgram | deferred | asSystem, "aditd.exe", `provision --profile "[PROFILE]"`},
		{"Policy", installedProgram | deferred | asSystem, "aditd.exe", `provision --policy "[POLICY]"`},
		// Without it the guards are open during the upgrade, which goes on.
		{"Restarting", installedProgram | goOn | deferred | asSystem, "aditd.exe", "restarting"},
		{"CleanUp", installedProgram | deferred | asSystem, "aditd.exe", "cleanup"},
		{"RemoveData", installedProgram | deferred | asSystem, "aditd.exe", "cleanup --purge"},
	}
	if gui {
		all = append(all,
			[]any{"CloseApp", foundProgram | goOn | deferred | asSystem, "System64Folder", `"[System64Folder]taskkill.exe" /F /IM adit-gui.exe`},
			// Explorer starts it as the person at the screen, without the installer's rights.
			[]any{"Launch", foundProgram | noWait, "WindowsFolder", `"[WindowsFolder]explorer.exe" "[#adit_gui.exe]"`})
	}
	return all
}

var sequenceColumns = []string{"Action s72", "Condition S255", "Sequence I2"}

// plain are steps without a condition, each with its number.
func plain(steps ...string) [][]any {
	var out [][]any
	for _, s := range steps {
		name, number, _ := strings.Cut(s, " ")
		out = append(out, []any{name, nil, number})
	}
	return out
}

// beginning are the steps that both sequences begin with, and one more.
func beginning(number int, last string) [][]any {
	return append(plain("FindRelatedProducts 25", "AppSearch 50", "LaunchConditions 100", "ValidateProductID 700", "CostInitialize 800",
		"FileCost 900", "CostFinalize 1000", "MigrateFeatureStates 1200"), []any{last, nil, number})
}

// sequence is what happens, in its order. An older version goes first, within the same transaction: if anything fails, it is back.
func (p product) sequence(gui bool) [][]any {
	const (
		removed = `REMOVE ~= "ALL"`
		forGood = removed + ` AND NOT UPGRADINGPRODUCTCODE AND SKIPCLEANUP <> "1"`
		// Not in a repair, which anybody may ask for.
		first = "NOT Installed"
	)
	steps := append(beginning(1400, "InstallValidate"), plain("InstallInitialize 1500", "RemoveExistingProducts 1501", "ProcessComponents 1600",
		"UnpublishFeatures 1800", "StopServices 1900", "DeleteServices 2000", "RemoveRegistryValues 2600", "RemoveShortcuts 3200",
		"RemoveEnvironmentStrings 3300", "RemoveFiles 3500", "RemoveFolders 3600", "CreateFolders 3700", "InstallFiles 4000", "CreateShortcuts 4500",
		"WriteRegistryValues 5000", "WriteEnvironmentStrings 5200", "InstallServices 5800", "StartServices 5900", "RegisterUser 6000",
		"RegisterProduct 6100", "PublishFeatures 6300", "PublishProduct 6400", "InstallFinalize 6600")...)
	const service = "$c_aditd_exe = 3"
	steps = append(steps,
		[]any{"Restarting", removed + " AND UPGRADINGPRODUCTCODE", 1890},
		[]any{"CleanUp", forGood + ` AND REMOVEDATA <> "1"`, 1950},
		[]any{"RemoveData", forGood + ` AND REMOVEDATA = "1"`, 1951},
		[]any{"Recovery", service, 5810}, []any{"RecoveryOfErrors", service, 5811}, []any{"ServiceIdentity", service, 5812},
		[]any{"Profile", first + " AND PROFILE", 5820}, []any{"Policy", first + " AND POLICY", 5821})
	if gui {
		steps = append(steps, []any{"CloseApp", removed, 1850},
			[]any{"Launch", `LAUNCH = "1" AND NOT Installed AND &Gui = 3 AND LogonUser <> "SYSTEM"`, 6700})
	}
	slices.SortStableFunc(steps, func(a, b []any) int { return number(a[2]) - number(b[2]) })
	return steps
}

func number(v any) int {
	var n int
	fmt.Sscan(fmt.Sprint(v), &n)
	return n
}

// shortName is the name of a file in both forms, if it is longer than 8.3.
func shortName(name string, i int) string {
	base, ext, _ := strings.Cut(name, ".")
	if len(base) <= 8 && len(ext) <= 3 {
		return name
	}
	letters := strings.Map(func(r rune) rune {
		if r == '-' || r == '.' {
			return -1
		}
		return r
	}, base)
	return strings.ToUpper(fmt.Sprintf("%.5s~%d.%.3s", letters, i%10, ext)) + "|" + name
}
