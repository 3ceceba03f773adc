// Package view is the desktop app without its widgets: what is on the screen, in which words, and what a
// click does. A Model takes the service's snapshots and the person's intents and publishes Screen values;
// whoever draws them decides nothing. No toolkit is imported here.
//
// One goroutine, Model.Run's, owns all state. What blocks (the service, the keychain, the browser, files)
// runs in goroutines that Run waits for, and comes back as a message.
package view

import (
	"time"

	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/gui/i18n"
	"github.com/adit-vpn/adit/ovpn/push"
)

// Screen is everything that is shown: a plain value that nobody changes after it was published. All texts are
// in Language, without control characters, and of bounded length.
type Screen struct {
	Language i18n.Language
	Theme    string // "auto", "light" or "dark"
	TextSize string // "normal", "large" or "largest"
	Page     Page
	Pages    []Tab
	Service  Service
	Profiles []Item
	Others   []string // tunnels of other users, of which no more is told
	Add      []Button // ways to add a profile
	Empty    string   // in place of an empty list
	Detail   *Detail  // of the selected profile
	First    *First   // in place of list and detail while there is no profile
	Toast    *Toast   // one line at the window's edge
	Dialog   *Dialog  // in front of everything
	Log      Log
	Settings []Setting
	Managed  *Managed // what the organization decides; nil: nothing
	Explain  Explain
	About    About
	Tray     Tray
	Menus    []Menu // of the window
	Files    Files
	OnClose  OnClose
}

// Page is which part of the window is in front.
type Page string

// The pages.
const (
	PageProfiles Page = "profiles"
	PageExplain  Page = "explain"
	PageLog      Page = "log"
	PageSettings Page = "settings"
	PageAbout    Page = "about"
)

// Tab leads to a page.
type Tab struct {
	Page  Page
	Label string
}

// Notice is a problem: one sentence and what to do, each hint a line.
type Notice struct {
	Code  string // of client/api; empty: the app's own
	Text  string
	Hints []string
}

// ServiceState says whether the service can be used.
type ServiceState string

// The states of the service.
const (
	ServiceStarting     ServiceState = "starting" // not answered yet
	ServiceReachable    ServiceState = "reachable"
	ServiceNotRunning   ServiceState = "not running"
	ServiceNotPermitted ServiceState = "not permitted"
	ServiceLost         ServiceState = "lost" // anything else
)

// Service is the service's state and, unless it is reachable, what to do.
type Service struct {
	State  ServiceState
	Notice *Notice
}

// Icon is a state's picture. Each has a shape of its own: colour is never the only sign.
type Icon string

// The icons.
const (
	IconDisconnected Icon = "disconnected"
	IconConnecting   Icon = "connecting" // reconnecting and disconnecting, too
	IconAttention    Icon = "attention"  // a person is needed
	IconConnected    Icon = "connected"
	IconBlocked      Icon = "blocked"
	IconUnknown      Icon = "unknown" // the service does not answer
)

// Shape is what an icon looks like in black and white, as package gui/icon draws it.
func (i Icon) Shape() string {
	switch i {
	case IconConnecting:
		return "three dots"
	case IconAttention:
		return "person"
	case IconConnected:
		return "tick"
	case IconBlocked:
		return "bar"
	case IconUnknown:
		return "exclamation mark"
	}
	return "open mouth"
}

// Item is one profile in the list.
type Item struct {
	Name     string // as the service knows it
	Title    string // to be shown
	Managed  string // the lock's explanation; empty: no lock
	State    api.State
	Text     string // the state in words
	Icon     Icon
	Progress bool // something moves
	Selected bool
}

// Detail is the selected profile.
type Detail struct {
	Name, Title string
	Managed     string // why nothing can be changed; empty: it can
	State       api.State
	Icon        Icon
	Text        string // the state in words
	Sentence    string // what it means for the person's traffic
	Since       string // "since 14:05"; empty: it does not matter
	Elapsed     string // a running clock; empty: none
	Progress    bool
	Notice      *Notice
	Buttons     []Button
	Rows        []Row
	Through     Through
	Throughput  *Throughput // while connected
}

// Row is one fact.
type Row struct {
	Label, Value string
	Warn         bool
}

// Through is what goes through the VPN.
type Through struct {
	Title    string
	Words    string
	Filter   string // what the person searches for
	Label    string // of the search box
	Count    string // "3 of 40 shown", with a filter
	Networks []Network
}

// Network is one route.
type Network struct {
	Destination string
	Reason      string
	Past        bool // leads past the VPN
}

// samples is how many seconds of throughput are shown.
const samples = 120

// Throughput is what went through the tunnel in each of the last two minutes' seconds.
type Throughput struct {
	Title    string
	Samples  [samples]Sample // oldest first
	Peak     float64         // bits per second
	PeakText string
	Rx, Tx   string // now, in words
}

// Sample is one second. Unknown seconds are gaps, not zeros.
type Sample struct {
	Known  bool
	Rx, Tx float64 // bits per second
}

// Button is something to press. Why says why it is not enabled, and may be empty.
type Button struct {
	Label   string
	Action  Action
	Enabled bool
	Why     string
	Default bool // Enter in a dialog, or the page's main button
	Cancel  bool // Esc
	Danger  bool
}

// First is what a person without profiles sees.
type First struct {
	Title, Text string
	Buttons     []Button
	Busy        string // what goes on; empty: nothing
	Notice      *Notice
}

// Toast is one line, with a button if there is something to take back.
type Toast struct {
	Text   string
	Button *Button
}

// DialogKind is what a dialog is about.
type DialogKind string

// The dialogs.
const (
	DialogCredentials DialogKind = "credentials"
	DialogCode        DialogKind = "code"
	DialogBrowser     DialogKind = "browser"
	DialogWait        DialogKind = "wait"
	DialogAgain       DialogKind = "again"
	DialogBanner      DialogKind = "banner"
	DialogCertificate DialogKind = "certificate"
	DialogGuard       DialogKind = "guard"
	DialogRemove      DialogKind = "remove"
	DialogRename      DialogKind = "rename"
	DialogAddress     DialogKind = "address"
	DialogImport      DialogKind = "import"
	DialogBackground  DialogKind = "background"
	DialogError       DialogKind = "error"
)

// Dialog is one dialog. What is typed comes back with Model.Submit and the dialog's ID.
type Dialog struct {
	Kind    DialogKind
	ID      string // of this one: another question has another
	Profile string // as the service knows it
	Title   string
	Text    []string // paragraphs; a line break in one is meant
	Notice  *Notice
	Fields  []Field
	Address string // of the browser's sign-in, to be copied
	Import  *Import
	Busy    bool // an answer is on its way
	Buttons []Button
}

// FieldID names a field.
type FieldID string

// The fields.
const (
	FieldUser       FieldID = "user"
	FieldPassword   FieldID = "password"
	FieldCode       FieldID = "code"
	FieldSave       FieldID = "save" // a switch: "true" or ""
	FieldName       FieldID = "name"
	FieldAddress    FieldID = "address"
	FieldReplace    FieldID = "replace" // a switch
	FieldPassphrase FieldID = "passphrase"
)

// Field is something to type or to switch.
type Field struct {
	ID       FieldID
	Label    string
	Value    string // what is there at first
	Secret   bool   // shown as dots
	Switch   bool
	Enabled  bool
	Optional bool // may stay empty
	Help     string
}

// Values are what was typed, by field. It prints as redacted.
type Values map[FieldID]push.Secret

// Import is a profile before it is added.
type Import struct {
	Usable   bool
	Verdict  string
	Traffic  string
	Rows     []Row // where it is from, the servers, the sign-in, the certificates
	Findings []Finding
}

// Finding is a remark about a profile that is being added.
type Finding struct {
	Text  string // with how grave it is, and the line
	Error bool
}

// Log is the log's page.
type Log struct {
	Filter, FilterLabel string
	Follow              bool
	FollowLabel         string
	Copy, Save          string // labels
	Lines               []LogLine
	Remark              string // "Older lines are left out."
	Notice              *Notice
}

// LogLine is one line.
type LogLine struct{ Time, Level, Profile, Text string }

// SettingID names a setting.
type SettingID string

// The settings: the app's own, then the selected profile's.
const (
	SettingLanguage      SettingID = "language"
	SettingTheme         SettingID = "theme"
	SettingTextSize      SettingID = "text_size"
	SettingStartAtLogin  SettingID = "start_at_login"
	SettingNotifications SettingID = "notifications"
	SettingOnClose       SettingID = "on_close"
	SettingAutoConnect   SettingID = "auto_connect"
	SettingSavePassword  SettingID = "save_password"
	SettingGuard         SettingID = "guard"
	SettingProxy         SettingID = "proxy"
)

// Setting is one of them: text where it says so, or one of the Choices; else it is a switch whose Value is "true" or "false".
type Setting struct {
	ID      SettingID
	Profile string // whose it is; empty: the app's
	Label   string
	Value   string
	Choices []Choice
	Text    bool   // to be typed
	Help    string // what to type
	Wrong   string // why what was typed, Value, does not count; empty: it does
	Locked  string // why it cannot be changed; empty: it can
	Busy    bool   // not known yet, or being changed
}

// Managed is what the organization decides about this computer.
type Managed struct {
	Title  string
	Rows   []Row   // where it stands, and each key that is set
	Notice *Notice // what of it cannot be read or has no effect
}

// Choice is one value of a setting.
type Choice struct{ Value, Label string }

// Explain is the page "Why can't I reach…".
type Explain struct {
	Title, Help string
	Label       string // of what is typed
	Destination string // as typed
	Button      Button
	Try         Button // beside it: also send something
	Busy        string // what goes on; empty: nothing
	Answer      string
	Tried       string // what came of trying; empty: it was not tried
	Rows        []Row  // what decides
	Notice      *Notice
}

// About says what runs.
type About struct {
	Text   string
	Rows   []Row
	Notice *Notice
	Report *Report // nil: there is none
}

// Report is a file for somebody who helps.
type Report struct {
	Text   string
	Button Button
	Busy   string // it is being made; empty: no
	Notice *Notice
}

// Tray is the tray's icon and menu.
type Tray struct {
	Icon    Icon
	Tooltip string
	Items   []MenuItem
}

// MenuItem is one line of the tray's menu. One without a label is a separator.
type MenuItem struct {
	Label   string
	Action  Action
	Enabled bool
}

// Menu is one of the window's menus.
type Menu struct {
	Label    string
	Commands []Command
}

// Command is one line of a menu. One without a label is a separator.
type Command struct {
	Label   string
	Page    Page // it leads there; empty: it does Action
	Action  Action
	Key     Key // the zero Key: it has none
	Enabled bool
	Current bool // Page is in front
}

// Key is what to press for a command.
type Key struct {
	Name    string // as it stands on the key: "O", "F2", "Delete", "Return"
	Primary bool   // together with Ctrl, on macOS with Command
	Shift   bool
}

// Files are the words of the dialogs in which files are chosen.
type Files struct {
	OpenTitle, Open string
	SaveTitle, Save string
	Cancel          string
	LogName         string // proposed for the log's file
	ReportTitle     string
	ReportName      string // proposed for the report's
}

// OnClose is what the window's closing does.
type OnClose string

// What closing the window does. Where there is a tray icon, CloseAsks hides the window without a question.
const (
	CloseAsks  OnClose = "ask"
	CloseHides OnClose = "background" // the app goes on
	CloseQuits OnClose = "quit"
)

// ActionKind is what a button does.
type ActionKind string

// The actions. Those marked with "window" are the window's own to do; Model.Do ignores them.
const (
	ActionConnect     ActionKind = "connect"
	ActionDisconnect  ActionKind = "disconnect"
	ActionSignIn      ActionKind = "sign in" // show the sign-in's dialog
	ActionOpenAgain   ActionKind = "open again"
	ActionAskRename   ActionKind = "ask rename"
	ActionAskRemove   ActionKind = "ask remove"
	ActionRemove      ActionKind = "remove"
	ActionUndo        ActionKind = "undo"
	ActionBanner      ActionKind = "banner"
	ActionGuard       ActionKind = "guard"
	ActionCertificate ActionKind = "certificate"
	ActionAskAddress  ActionKind = "ask address"
	ActionDemo        ActionKind = "demo"
	ActionDemoPage    ActionKind = "demo page"    // show it in the browser
	ActionCancel      ActionKind = "cancel"       // close the dialog; a sign-in's ends the sign-in
	ActionSubmit      ActionKind = "submit"       // window: call Submit with what is typed
	ActionChooseFile  ActionKind = "choose file"  // window: then ImportFile
	ActionCopyAddress ActionKind = "copy address" // window
	ActionOpenWindow  ActionKind = "open window"  // window
	ActionQuit        ActionKind = "quit"         // window
	ActionExplain     ActionKind = "explain"      // window: call Explain with what is typed
	ActionKeepRunning ActionKind = "keep running" // window: hide, after the model has remembered it
	ActionCloseQuits  ActionKind = "close quits"  // window: quit, after the model has remembered it
	ActionCloseWindow ActionKind = "close window" // window
	ActionSearch      ActionKind = "search"       // window: the focus goes to the page's search box
	ActionCopyLog     ActionKind = "copy log"     // window
	ActionSaveLog     ActionKind = "save log"     // window: then SaveLog
	ActionTry         ActionKind = "try"          // window: call Try with what is typed
	ActionSaveReport  ActionKind = "save report"  // window: then SaveReport
)

// Action is what a button or a menu item does, and to which profile.
type Action struct {
	Kind    ActionKind
	Profile string
}

// NotificationKind is what a notification tells.
type NotificationKind string

// The notifications.
const (
	NotifyConnected   NotificationKind = "connected"
	NotifyLost        NotificationKind = "lost"
	NotifySignIn      NotificationKind = "sign in"
	NotifyCertificate NotificationKind = "certificate"
	NotifyBackground  NotificationKind = "background" // the app goes on without a window
)

// Notification is told once, beside the screen.
type Notification struct {
	Kind    NotificationKind
	Profile string
	Title   string
	Text    string
	Time    time.Time
}
