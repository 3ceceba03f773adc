package i18n

import "github.com/adit-vpn/adit/client/api"

// The keys, by where they are shown. Each is one line with both languages, so that whoever changes one sees
// the other. They are read-only. No text counts anything in a plural.

// The states of a connection, and what follows from each.
var (
	StateDisconnected  = Key{"Disconnected", "未接続"}
	StateConnecting    = Key{"Connecting…", "接続しています…"}
	StateNeedsLogin    = Key{"Sign-in needed", "サインインが必要です"}
	StateConnected     = Key{"Connected", "接続済み"}
	StateReconnecting  = Key{"Reconnecting…", "再接続しています…"}
	StateDisconnecting = Key{"Disconnecting…", "切断しています…"}
	StateBlocked       = Key{"Blocked", "通信を遮断中"}
	StateUnknown       = Key{"State: {state}", "状態：{state}"}

	SaysDisconnected      = Key{"Your traffic does not go through this VPN.", "通信はこのVPNを通っていません。"}
	SaysConnecting        = Key{"Setting up the connection. Your traffic does not go through this VPN yet.", "接続の準備をしています。通信はまだこのVPNを通りません。"}
	SaysNeedsLogin        = Key{"The server waits for your sign-in. Until then, your traffic does not go through this VPN.", "サーバーがサインインを待っています。サインインするまで、通信はこのVPNを通りません。"}
	SaysAnotherSignsIn    = Key{"Another user of this computer is asked to sign in. Until then, your traffic does not go through this VPN.", "このコンピューターのほかのユーザーがサインインを求められています。サインインが済むまで、通信はこのVPNを通りません。"}
	SaysAnotherGuarded    = Key{"Another user of this computer is asked to sign in. Until then, the guard blocks the traffic that belongs into the VPN.", "このコンピューターのほかのユーザーがサインインを求められています。サインインが済むまで、VPNを通るべき通信はガードが遮断します。"}
	SaysSignInGuarded     = Key{"The server waits for your sign-in. Until then, the guard blocks the traffic that belongs into the VPN.", "サーバーがサインインを待っています。サインインするまで、VPNを通るべき通信はガードが遮断します。"}
	SaysConnectingGuarded = Key{"Setting up the connection. Until it is up, the guard blocks the traffic that belongs into the VPN.", "接続の準備をしています。接続されるまで、VPNを通るべき通信はガードが遮断します。"}
	SaysAskedWhileUp      = Key{"You are connected, and the server asks you to sign in again. Sign in to stay connected.", "接続中ですが、サーバーがもう一度サインインを求めています。接続を続けるにはサインインしてください。"}
	SaysConnectedAll      = Key{"All your traffic goes through this VPN.", "すべての通信がこのVPNを通ります。"}
	SaysConnectedSome     = Key{"Traffic to the listed networks goes through this VPN; everything else goes the usual way.", "一覧のネットワークへの通信だけがこのVPNを通り、それ以外は通常の経路を通ります。"}
	SaysConnectedNone     = Key{"Connected, but no network goes through this VPN. Ask your administrator which ones should.", "接続していますが、このVPNを通るネットワークはありません。対象のネットワークを管理者にご確認ください。"}
	SaysAnotherAll        = Key{"Another user of this computer has connected this VPN. All traffic of the computer goes through it, yours too.", "このコンピューターのほかのユーザーがこのVPNに接続しています。あなたの通信も含め、すべての通信がこのVPNを通ります。"}
	SaysAnotherSome       = Key{"Another user of this computer has connected this VPN. Traffic to its networks goes through it, yours too; only that user is shown which ones they are.", "このコンピューターのほかのユーザーがこのVPNに接続しています。あなたの通信も含め、対象のネットワークへの通信はこのVPNを通ります。対象は、接続したユーザーだけに表示されます。"}
	SaysReconnecting      = Key{"The connection was lost and is being set up again.", "接続が切れたため、再接続しています。"}
	SaysDisconnecting     = Key{"The connection is being ended and this computer's network put back as it was.", "接続を終了し、このコンピューターのネットワークを元に戻しています。"}
	SaysTrusted           = Key{"This is a network that your organization trusts: nothing connects by itself here.", "組織が信頼しているネットワークのため、自動接続は行われません。"}
	SaysBlocked           = Key{"What belongs into the VPN is blocked, so that it does not leave this computer unprotected.", "VPNを通るべき通信が保護されずに出ていかないように、遮断しています。"}
	SaysGuarded           = Key{"Until it is back, the guard blocks the traffic that belongs into the VPN.", "復旧するまで、VPNを通るべき通信はガードが遮断します。"}
	SaysUnguarded         = Key{"Until it is back, your traffic may go outside the VPN.", "復旧するまで、通信がVPNの外を通ることがあります。"}
	SaysSignInUnderWay    = Key{"While you sign in, web pages go outside the VPN.", "サインインが終わるまで、Webの通信はVPNの外を通ります。"}
	SaysService           = Key{"The state of this VPN is not known at the moment.", "このVPNの現在の状態はわかりません。"}
)

// The service.
var (
	ServiceStarting         = Key{"Looking for the Adit service…", "Aditサービスに接続しています…"}
	ServiceNotRunning       = Key{"The Adit service is not running.", "Aditサービスが動作していません。"}
	ServiceNotRunningHint   = Key{"Start it, or ask your administrator. This window tries again by itself.", "サービスを開始するか、管理者にお問い合わせください。このウィンドウは自動的に再試行します。"}
	ServiceNotRunningStart  = Key{"To start it by hand: {start}", "手動で開始するには：{start}"}
	ServiceNotPermitted     = Key{"You are not permitted to use the Adit service.", "Aditサービスを使用する権限がありません。"}
	ServiceNotPermittedHint = Key{"Ask your administrator to let you use it. On Linux you need to be in the group adit, and to sign in to the computer again afterwards.", "管理者に使用の許可を依頼してください。Linuxではaditグループに追加してもらい、PCにログインし直す必要があります。"}
	ServiceBroken           = Key{"The connection to the Adit service is lost[: {detail}].", "Aditサービスとの接続が切れました[（{detail}）]。"}
	ServiceBrokenHint       = Key{"This window tries again by itself.", "このウィンドウは自動的に再試行します。"}
)

// The profile list, and what can be done with a profile.
var (
	Managed         = Key{"Managed by your organization", "組織が管理しています"}
	ManagedProfile  = Key{"Your organization manages this profile. It cannot be renamed, changed or removed.", "このプロファイルは組織が管理しているため、名前の変更、設定の変更、削除はできません。"}
	OtherTunnel     = Key{"Another user's VPN ({owner}): {state}", "ほかのユーザー（{owner}）のVPN：{state}"}
	Connect         = Key{"Connect", "接続"}
	Disconnect      = Key{"Disconnect", "切断"}
	CancelConnect   = Key{"Cancel", "キャンセル"}
	SignIn          = Key{"Sign in…", "サインイン…"}
	SignInAgain     = Key{"Sign in again", "もう一度サインイン"}
	Rename          = Key{"Rename…", "名前を変更…"}
	Remove          = Key{"Remove…", "削除…"}
	AddFile         = Key{"Add from file…", "ファイルから追加…"}
	AddAddress      = Key{"Add from web address…", "Webアドレスから追加…"}
	AddForbidden    = Key{"Your organization does not allow profiles of your own.", "組織の設定により、独自のプロファイルは追加できません。"}
	WhyInUse        = Key{"To rename or remove it, disconnect first.", "名前の変更や削除をするには、先に切断してください。"}
	WhyManaged      = Key{"Managed by your organization.", "組織が管理しています。"}
	WhyAlwaysOn     = Key{"Your organization keeps this VPN always on.", "組織の設定により、このVPNは常に接続されます。"}
	WhyAnother      = Key{"Another user of this computer is using it.", "このコンピューターのほかのユーザーが使用しています。"}
	WhyDisconnect   = Key{"It is being disconnected.", "切断中です。"}
	WhyWorking      = Key{"The last click is still being worked on.", "直前の操作を処理しています。"}
	NoProfiles      = Key{"There is no profile yet.", "プロファイルはまだありません。"}
	Undo            = Key{"Undo", "元に戻す"}
	Removed         = Key{"{profile} is removed.", "「{profile}」を削除しました。"}
	SavedRefused    = Key{"The saved password of {user} was not accepted, and is forgotten.", "{user}の保存済みパスワードは受け付けられなかったため、消去しました。"}
	SavedKept       = Key{"The password is saved in your keychain.", "パスワードをキーチェーンに保存しました。"}
	SavedNot        = Key{"The password is not saved: the server does not allow it.", "サーバーが許可していないため、パスワードは保存しませんでした。"}
	SavedForbidden  = Key{"The password may not be saved, and is forgotten.", "パスワードの保存が許可されていないため、保存済みのパスワードを消去しました。"}
	KeychainTrouble = Key{"The keychain does not work, so passwords are neither saved nor read: {detail}", "キーチェーンを使用できないため、パスワードの保存と読み出しができません：{detail}"}
)

// The detail pane.
var (
	Since             = Key{"since {time}", "{time}から"}
	RowServer         = Key{"Server", "サーバー"}
	RowProxy          = Key{"Through proxy", "経由するプロキシ"}
	RowAddress        = Key{"Your address in the VPN", "VPN内のアドレス"}
	RowDevice         = Key{"Network device", "ネットワークデバイス"}
	RowMTU            = Key{"{device}, MTU {mtu}", "{device}（MTU {mtu}）"}
	RowDNS            = Key{"DNS servers", "DNSサーバー"}
	DNSWaits          = Key{"{servers} (waiting: the servers of {other} are asked)", "{servers}（待機中：{other}のサーバーが使われています）"}
	RowDNSOnly        = Key{"Only for names in", "対象のドメイン"}
	RowSearch         = Key{"Search domains", "検索ドメイン"}
	RowReceived       = Key{"Received", "受信"}
	RowSent           = Key{"Sent", "送信"}
	RowProtection     = Key{"Protection", "保護"}
	RowGuard          = Key{"Guard", "ガード"}
	RowSession        = Key{"Session ends", "セッションの終了"}
	RowCertificate    = Key{"Your certificate", "あなたの証明書"}
	RowSignIn         = Key{"Sign-in", "サインイン方法"}
	In                = Key{"{moment} (in {duration})", "{moment}（あと{duration}）"}
	ValidUntil        = Key{"valid until {date}", "{date}まで有効"}
	ExpiresIn         = Key{"expires on {date} (in {duration})", "{date}に期限切れ（あと{duration}）"}
	Expired           = Key{"expired on {date}", "{date}に期限切れ"}
	DNSSystem         = Key{"this computer's own resolver", "このコンピューターの通常の設定"}
	ThroughTitle      = Key{"What goes through this VPN", "このVPNを通る通信"}
	ThroughAll        = Key{"All traffic", "すべての通信"}
	ThroughListed     = Key{"These networks only", "次のネットワークのみ"}
	ThroughNone       = Key{"No network", "なし"}
	ThroughHidden     = Key{"Shown only to the user who has connected it", "接続したユーザーだけに表示されます"}
	ThroughLater      = Key{"Known once connected", "接続すると表示されます"}
	ThroughFilter     = Key{"Search networks", "ネットワークを検索"}
	ThroughCount      = Key{"{shown} of {total} shown", "{total}件中{shown}件を表示"}
	ThroughPast       = Key{"{reason} (past the VPN, through {via})", "{reason}（VPNを通らず{via}を経由）"}
	GraphTitle        = Key{"Last two minutes", "直近の2分間"}
	GraphReceived     = Key{"Receiving {rate}", "受信 {rate}"}
	GraphSent         = Key{"Sending {rate}", "送信 {rate}"}
	GraphUnknown      = Key{"No data", "データなし"}
	ShowBanner        = Key{"Show message", "メッセージを表示"}
	ShowGuard         = Key{"Why is it blocked?", "遮断の理由"}
	OpenDemo          = Key{"Open the demo's web page", "デモのWebページを開く"}
	DemoNotOpened     = Key{"The browser could not be started. The address is {address}", "ブラウザーを起動できませんでした。アドレスは{address}です。"}
	ShowCertificate   = Key{"About the certificate", "証明書について"}
	KindCertificate   = Key{"certificate", "証明書"}
	KindPassword      = Key{"user name and password", "ユーザー名とパスワード"}
	KindBrowser       = Key{"browser", "ブラウザー"}
	WhyOwnNetwork     = Key{"the tunnel's own network", "トンネル自身のネットワーク"}
	WhyOwnAddress     = Key{"an address of this machine", "このコンピューター自身のアドレス"}
	WhyNoRoute        = Key{"no more specific route leads into the tunnel", "トンネルへ向かうより詳細な経路がないため"}
	WhyAnotherUser    = Key{"another user's tunnel", "ほかのユーザーのトンネル"}
	WhyAll            = Key{"all traffic is redirected", "すべての通信をVPNに通すため"}
	WhyServer         = Key{"the server's own address", "VPNサーバー自身のアドレス"}
	WhyPushed         = Key{"set by the server", "サーバーの指定"}
	WhyProfile        = Key{"set in the profile", "プロファイルの指定"}
	WhySetting        = Key{"added in this profile's settings", "このプロファイルの設定で追加"}
	WhyBlock6         = Key{"the server blocks IPv6", "サーバーがIPv6を遮断しているため"}
	WhyNo6            = Key{"IPv6 is blocked: all traffic is redirected, and the server carries no IPv6", "すべての通信をVPNに通しますが、サーバーがIPv6に対応していないため遮断"}
	WhyNo4            = Key{"IPv4 is blocked: all traffic is redirected, and the server carries no IPv4", "すべての通信をVPNに通しますが、サーバーがIPv4に対応していないため遮断"}
	WhyPeer           = Key{"the tunnel's other end", "トンネルの相手側"}
	WhyEnforced       = Key{"the server enforces its routes over those of this computer", "サーバーがこのコンピューターの経路より自身の経路を優先させているため"}
	WhyLocal          = Key{"the server blocks local networks", "サーバーがローカルネットワークを遮断しているため"}
	WhyGateway        = Key{"the gateway of the local network", "ローカルネットワークのゲートウェイ"}
	WhyResolver       = Key{"this computer's own resolver", "このコンピューターの通常のDNSサーバー"}
	WhyCut            = Key{"the server's own address, which has no way outside the tunnel now", "VPNサーバー自身のアドレス（現在、トンネル外の経路なし）"}
	WhyToGoPast       = Key{"{reason}, to go past the VPN", "{reason}（VPNを通さない）"}
	WhyOwnGateway     = Key{"{reason}, with its own gateway", "{reason}（専用のゲートウェイ経由）"}
	WhyNoFamily       = Key{"{reason}, which gives no address of this family: blocked", "{reason}（この種類のアドレスが割り当てられていないため遮断）"}
	GuardOff          = Key{"off: when the connection is lost, traffic may go outside the VPN", "オフ：接続が切れると、通信がVPNの外を通ることがあります"}
	GuardAuto         = Key{"automatic: while connected and until you disconnect, traffic of the VPN never goes outside it", "自動：接続してから切断するまで、VPNの通信が外に出ることはありません"}
	GuardLockdown     = Key{"lockdown: without the VPN, nothing leaves this computer", "ロックダウン：VPNなしでは、このコンピューターから通信できません"}
	GuardUnknown      = Key{"mode {mode}", "モード {mode}"}
	ProtectionWords   = Key{"{data}; control {control}; {tls}", "{data}、制御 {control}、{tls}"}
	ServerThroughPort = Key{"{name} ({address}, {transport})", "{name}（{address}、{transport}）"}
)

// Dialogs.
var (
	OK                  = Key{"OK", "OK"}
	Close               = Key{"Close", "閉じる"}
	Cancel              = Key{"Cancel", "キャンセル"}
	SignInTitle         = Key{"Sign in to {profile}", "{profile}へのサインイン"}
	UserName            = Key{"User name", "ユーザー名"}
	Password            = Key{"Password", "パスワード"}
	SavePassword        = Key{"Save password in the keychain", "パスワードをキーチェーンに保存"}
	PasswordSaved       = Key{"Leave it empty to use the saved password.", "空のままにすると、保存済みのパスワードを使用します。"}
	SavePasswordProfile = Key{"This profile does not allow saved passwords.", "このプロファイルでは、パスワードを保存できません。"}
	SavePasswordServer  = Key{"The server does not allow saved passwords.", "サーバーの設定により、パスワードは保存できません。"}
	SavePasswordNot     = Key{"Your organization does not allow saved passwords.", "組織の設定により、パスワードは保存できません。"}
	DoSignIn            = Key{"Sign in", "サインイン"}
	CodeTitle           = Key{"One-time code for {profile}", "{profile}のワンタイムコード"}
	Code                = Key{"One-time code", "ワンタイムコード"}
	ServerAsks          = Key{"The server asks: {prompt}", "サーバーからの質問：{prompt}"}
	CodeEmpty           = Key{"If you have none, leave it empty.", "お持ちでない場合は空のままにしてください。"}
	AnswerUntil         = Key{"Please answer by {time}.", "{time}までに入力してください。"}
	Send                = Key{"Send", "送信"}
	BrowserTitle        = Key{"Sign in with your browser", "ブラウザーでサインイン"}
	BrowserWaiting      = Key{"Your browser shows the sign-in page of {site}. Finish there; this window waits.", "ブラウザーに{site}のサインインページが表示されます。そちらで手続きを完了してください。このウィンドウはそのままお待ちください。"}
	BrowserFailed       = Key{"The browser could not be started. Copy the address and open it yourself on this computer.", "ブラウザーを起動できませんでした。アドレスをコピーして、このコンピューターのブラウザーで開いてください。"}
	BrowserBusy         = Key{"Another program is waiting for a sign-in on port {port}. Finish or end it there, then try again.", "ほかのプログラムがポート{port}でサインインを待っています。そちらを完了または終了してから、もう一度お試しください。"}
	BrowserBroken       = Key{"The sign-in with the browser did not work ({detail}). Open it again, or cancel and connect once more.", "ブラウザーでのサインインに失敗しました（{detail}）。もう一度開くか、キャンセルして接続し直してください。"}
	OpenAgain           = Key{"Open again", "もう一度開く"}
	CopyAddress         = Key{"Copy address", "アドレスをコピー"}
	WaitTitle           = Key{"Waiting for {profile}", "{profile}の応答待ち"}
	WaitText            = Key{"The server waits until you have signed in elsewhere.", "別の場所でのサインインが完了するのをサーバーが待っています。"}
	AgainTitle          = Key{"Sign in to {profile} again", "{profile}へ再度サインイン"}
	AgainText           = Key{"Nobody signed in in time. Do you want to sign in now?", "時間内にサインインがありませんでした。今すぐサインインしますか？"}
	BannerTitle         = Key{"Message from {profile}", "{profile}からのメッセージ"}
	CertificateTitle    = Key{"Certificate of {profile}", "{profile}の証明書"}
	CertificateSoon     = Key{"Your certificate expires on {date} (in {duration}). After that you cannot connect.", "証明書は{date}に期限が切れます（あと{duration}）。期限が切れると接続できなくなります。"}
	CertificateOver     = Key{"Your certificate expired on {date}. You cannot connect with it.", "証明書は{date}に期限が切れました。この証明書では接続できません。"}
	CertificateFine     = Key{"Your certificate is valid until {date}.", "証明書は{date}まで有効です。"}
	CertificateDo       = Key{"Ask your administrator for a new profile, and add it under the same name.", "管理者から新しいプロファイルを受け取り、同じ名前で追加してください。"}
	GuardTitle          = Key{"Traffic is blocked", "通信を遮断しています"}
	GuardBecauseAuto    = Key{"Traffic is blocked because the VPN {profile} is not up, and you have not disconnected it: the guard keeps what belongs into the VPN from going outside it.", "VPN「{profile}」が接続されておらず、切断の操作もされていないため、通信を遮断しています。ガードは、VPNを通るべき通信が外に出るのを防ぎます。"}
	GuardBecauseLock    = Key{"Traffic is blocked because {profile} is set to lockdown: without the VPN nothing leaves this computer.", "「{profile}」がロックダウンに設定されているため、通信を遮断しています。VPNなしではこのコンピューターから通信できません。"}
	GuardNotNow         = Key{"Nothing is blocked at the moment.", "現在、通信は遮断されていません。"}
	GuardConnect        = Key{"Connect, and traffic flows again through the VPN.", "接続すると、VPNを通して通信できるようになります。"}
	GuardDisconnect     = Key{"Or disconnect: then traffic goes outside the VPN, unprotected.", "切断すると、通信は保護されずにVPNの外を通ります。"}
	GuardAdmin          = Key{"Your organization has set this; only your administrator can change it.", "この設定は組織が行ったもので、管理者だけが変更できます。"}
	RemoveTitle         = Key{"Remove {profile}?", "「{profile}」を削除しますか？"}
	RemoveText          = Key{"The profile, its keys and its settings are deleted. You can undo this for {duration}.", "プロファイルとその鍵、設定を削除します。{duration}以内であれば元に戻せます。"}
	DoRemove            = Key{"Remove", "削除"}
	RenameTitle         = Key{"Rename {profile}", "「{profile}」の名前を変更"}
	NewName             = Key{"New name", "新しい名前"}
	DoRename            = Key{"Rename", "変更"}
	AddressTitle        = Key{"Add profile from web address", "Webアドレスからプロファイルを追加"}
	Address             = Key{"Web address (https)", "Webアドレス（https）"}
	DoFetch             = Key{"Get profile", "取得"}
	ImportTitle         = Key{"Add profile", "プロファイルの追加"}
	ImportTooMany       = Key{"{source} is left out: too many profiles wait to be added.", "追加を待つプロファイルが多すぎるため、{source}は読み込みません。"}
	ImportReading       = Key{"Reading {source}…", "{source}を読み込んでいます…"}
	ImportSource        = Key{"From", "取得元"}
	ImportNextServer    = Key{"or else", "次の候補"}
	ImportName          = Key{"Name", "名前"}
	ImportCertificate   = Key{"{subject}, valid until {date}", "{subject}、{date}まで有効"}
	RoleCA              = Key{"Trusted CA", "信頼する認証局（CA）"}
	RoleClient          = Key{"Your certificate", "あなたの証明書"}
	RoleExtra           = Key{"Intermediate CA", "中間認証局"}
	ImportUsable        = Key{"This profile can be used.", "このプロファイルは使用できます。"}
	ImportUnusable      = Key{"This profile cannot be used. See the lines marked below.", "このプロファイルは使用できません。下に示す行をご確認ください。"}
	ImportConflict      = Key{"There is already a profile {profile}. Choose another name, or replace it.", "「{profile}」という名前のプロファイルがすでにあります。別の名前にするか、置き換えてください。"}
	ImportManaged       = Key{"A managed profile has the name {profile}. Choose another name.", "「{profile}」は組織が管理するプロファイルの名前です。別の名前にしてください。"}
	ImportReplace       = Key{"Replace the profile of this name", "同じ名前のプロファイルを置き換える"}
	ImportPassphrase    = Key{"Passphrase of the private key", "秘密鍵のパスフレーズ"}
	ImportLocked        = Key{"The private key is protected by a passphrase. It is opened here once; the service keeps it readable for itself only.", "秘密鍵はパスフレーズで保護されています。ここで一度だけ解除し、以後はサービスだけが読める形で保管します。"}
	ImportWrong         = Key{"The passphrase does not open the private key.", "パスフレーズが正しくないため、秘密鍵を開けません。"}
	DoImport            = Key{"Add", "追加"}
	SeverityError       = Key{"Error", "エラー"}
	SeverityWarning     = Key{"Warning", "警告"}
	SeverityInfo        = Key{"Note", "注記"}
	Found               = Key{"{severity}[, line {line}]: {text}", "{severity}[（{line}行目）]：{text}"}
	TrafficAll          = Key{"All traffic will go through the VPN.", "すべての通信がVPNを通ります。"}
	TrafficListed       = Key{"Only these networks will go through the VPN: {networks}", "次のネットワークだけがVPNを通ります：{networks}"}
	TrafficOwn          = Key{"Only the VPN's own network will go through it.", "VPN自身のネットワークだけがVPNを通ります。"}
	TrafficServer       = Key{"The server decides what goes through the VPN.", "どの通信がVPNを通るかはサーバーが決めます。"}
	TrafficServerListed = Key{"The server decides what goes through the VPN; these networks do in any case: {networks}", "どの通信がVPNを通るかはサーバーが決めます。次のネットワークは必ずVPNを通ります：{networks}"}
	ErrorTitle          = Key{"That did not work", "操作を完了できませんでした"}
)

// Pages, settings, the log, explanations, what is shown at first and about.
var (
	PageProfiles       = Key{"VPN", "VPN"}
	PageExplain        = Key{"Why can't I reach…", "接続できない理由"}
	PageLog            = Key{"Log", "ログ"}
	PageSettings       = Key{"Settings", "設定"}
	PageAbout          = Key{"About Adit", "Aditについて"}
	SettingLanguage    = Key{"Language", "言語"}
	LanguageAuto       = Key{"As the system", "システムに合わせる"}
	LanguageEnglish    = Key{"English", "English"}
	LanguageJapanese   = Key{"Japanese", "日本語"}
	SettingTheme       = Key{"Appearance", "外観"}
	ThemeAuto          = Key{"As the system", "システムに合わせる"}
	ThemeLight         = Key{"Light", "ライト"}
	ThemeDark          = Key{"Dark", "ダーク"}
	SettingTextSize    = Key{"Text size", "文字の大きさ"}
	TextNormal         = Key{"Normal", "標準"}
	TextLarge          = Key{"Large", "大"}
	TextLargest        = Key{"Largest", "特大"}
	SettingStart       = Key{"Start Adit when I sign in to this computer", "PCへのログイン時にAditを起動する"}
	SettingStartNot    = Key{"This system offers no way to start it.", "このシステムでは自動的に起動できません。"}
	SettingNotify      = Key{"Show notifications", "通知を表示する"}
	SettingAutoConnect = Key{"Connect when I sign in to this computer", "PCへのログイン時に自動的に接続する"}
	SettingSave        = Key{"Keep my password in the keychain", "パスワードをキーチェーンに保存する"}
	SettingGuard       = Key{"Guard", "ガード"}
	SettingProxy       = Key{"Proxy", "プロキシ"}
	ProxyHelp          = Key{"http://HOST:PORT or socks5://HOST:PORT. Empty: as the profile says; none: no proxy. It counts from the next connection.", "http://ホスト:ポート または socks5://ホスト:ポート。空欄の場合はプロファイルの設定を使用し、none と入力するとプロキシを使用しません。次回の接続から有効になります。"}
	ProxyWrong         = Key{"This proxy cannot be used: {detail}", "このプロキシは使用できません：{detail}"}
	SettingOnClose     = Key{"When the window is closed", "ウィンドウを閉じたとき"}
	CloseAsk           = Key{"Keep running in the tray, or ask", "トレイで続ける、または確認"}
	CloseHide          = Key{"Keep running in the background", "バックグラウンドで実行を続ける"}
	CloseQuit          = Key{"Quit Adit", "Aditを終了する"}
	ChoiceOff          = Key{"Off", "オフ"}
	ChoiceAuto         = Key{"Automatic", "自動"}
	ChoiceLockdown     = Key{"Lockdown", "ロックダウン"}
	SettingsNotKept    = Key{"The settings cannot be saved: {detail}", "設定を保存できません：{detail}"}
	SettingsNotRead    = Key{"The settings file cannot be read, and the usual settings are used: {detail}", "設定ファイルを読み込めないため、標準の設定を使用します：{detail}"}

	LogFilter       = Key{"Search the log", "ログを検索"}
	LogFollow       = Key{"Follow", "最新の行を表示"}
	LogCopy         = Key{"Copy", "コピー"}
	LogSave         = Key{"Save…", "保存…"}
	LogSaved        = Key{"The log is saved in {file}.", "ログを{file}に保存しました。"}
	LogNotSaved     = Key{"The log could not be saved in {file} ({detail}).", "ログを{file}に保存できませんでした（{detail}）。"}
	LogNotSavedHint = Key{"Choose another folder or another name.", "別のフォルダーまたは別の名前を指定してください。"}
	LogNone         = Key{"Nothing to show.", "表示する行がありません。"}
	LogNoneMatches  = Key{"No line contains {text}.", "「{text}」を含む行はありません。"}
	LogShortened    = Key{"Older lines are left out.", "古い行は省略されています。"}

	ExplainLabel       = Key{"Address or host name", "アドレスまたはホスト名"}
	ExplainDo          = Key{"Explain", "調べる"}
	ExplainHelp        = Key{"Type an address or a host name to see which way traffic to it goes, and why. Explain sends nothing to it; Try it sends up to three packets.", "アドレスまたはホスト名を入力すると、そこへの通信がどの経路を通るのかを、理由とともに表示します。「調べる」は実際の通信を行いません。「試す」は最大3つのパケットを送ります。"}
	ExplainWorking     = Key{"Looking…", "調べています…"}
	ExplainNamed       = Key{"{name} ({address})", "{name}（{address}）"}
	ExplainTunnel      = Key{"{destination} goes through the VPN[ {profile}].", "{destination}への通信はVPN[「{profile}」]を通ります。"}
	ExplainAround      = Key{"{destination} goes past the VPN[ {profile}], on purpose.", "{destination}への通信は、意図的にVPN[「{profile}」]を通りません。"}
	ExplainUnderlay    = Key{"{destination} goes outside any VPN.", "{destination}への通信はVPNの外を通ります。"}
	ExplainUnreachable = Key{"{destination} is blocked[ by {profile}].", "{destination}への通信は[「{profile}」により]遮断されます。"}
	ExplainNone        = Key{"{destination} cannot be reached: no route leads to it.", "{destination}への経路がないため、通信できません。"}
	ExplainSelf        = Key{"{destination} is this computer itself.", "{destination}はこのコンピューター自身です。"}
	ExplainOther       = Key{"{destination} is decided by another user's VPN.", "{destination}への通信は、ほかのユーザーのVPNによって決まります。"}
	ExplainAsk         = Key{"If it still does not answer, ask your administrator for a route and an authorization rule for it.", "それでも応答がない場合は、経路と許可ルールについて管理者にお問い合わせください。"}
	ExplainRoute       = Key{"Decided by", "決め手となる経路"}
	ExplainReason      = Key{"Because", "理由"}
	ExplainVia         = Key{"Through", "経由"}
	ExplainDNS         = Key{"Names", "名前解決"}
	ExplainBlocked     = Key{"{destination} cannot be reached now: the guard blocks what belongs into the VPN until the VPN is up again.", "現在{destination}には到達できません。VPNが復旧するまで、VPNを通るべき通信はガードが遮断します。"}
	GuardIsOpen        = Key{"It blocks nothing.", "何も遮断していません。"}
	GuardPassTunnel    = Key{"It lets this pass: it goes through the VPN.", "通過します。VPNを通ります。"}
	GuardPassSelf      = Key{"It lets this pass: it stays in this computer.", "通過します。このコンピューターの中の通信です。"}
	GuardPassAround    = Key{"It lets this pass: it is meant to go outside the VPN.", "通過します。VPNの外を通る設定です。"}
	GuardPassWeb       = Key{"It blocks this, but for web pages while the sign-in is open.", "遮断します。ただしサインイン中はWebページを開けます。"}
	GuardPassNearby    = Key{"It lets this pass: it is in the local network. But names are not looked up there.", "通過します。ローカルネットワーク内の通信です。ただし名前解決はできません。"}
	GuardPassLocal     = Key{"It lets this pass: it is in the local network.", "通過します。ローカルネットワーク内の通信です。"}
	GuardStopServer    = Key{"It blocks this, but for the VPN's own packets to its server.", "遮断します。ただしVPN自身のサーバーへの通信は通過します。"}
	GuardStop          = Key{"It blocks this: it belongs into the VPN, and may not go outside it.", "遮断します。VPNを通るべき通信で、外に出すことはできません。"}
	GuardPassOutside   = Key{"It lets this pass: it does not belong into the VPN.", "通過します。VPNを通る通信ではありません。"}
	ExplainGuard       = Key{"Guard", "ガード"}
	ViaGateway         = Key{"{device}, gateway {gateway}", "{device}（ゲートウェイ {gateway}）"}
	DNSAll             = Key{"all names go to {servers}", "すべての名前を{servers}に問い合わせます"}
	DNSSplit           = Key{"names in {domains} go to {servers}, all others to this computer's own resolver", "{domains}の名前は{servers}に、それ以外は通常の設定で問い合わせます"}
	TryDo              = Key{"Try it", "試す"}
	TryWorking         = Key{"Trying…", "試しています…"}
	TryByPing          = Key{"ping", "pingによる確認"}
	TryByTCP           = Key{"TCP port {port}", "TCPポート{port}"}
	TryAnswered        = Key{"It answered in {time} ms ({what}).", "{time}ミリ秒で応答がありました（{what}）。"}
	TryRefused         = Key{"The host is there, but nothing listens on that port ({what}). Try another port, or ask who runs the host.", "ホストは応答しましたが、そのポートでは何も待ち受けていません（{what}）。別のポートを試すか、ホストの管理者にお問い合わせください。"}
	TryNoRoute         = Key{"This computer knows no way to it ({what}).", "このコンピューターからの経路がありません（{what}）。"}
	TryUnreachable     = Key{"The network or a router on the way says that the host cannot be reached ({what}).", "途中のネットワークまたはルーターが、到達できないと応答しました（{what}）。"}
	TryFirewall        = Key{"This computer's own firewall blocked it ({what}); the guard did not.", "このコンピューターのファイアウォールに遮断されました（{what}）。ガードによるものではありません。"}
	TryGuarded         = Key{"The guard blocked it ({what}). Connect again, or disconnect to open the guard.", "ガードに遮断されました（{what}）。再接続するか、切断してガードを解除してください。"}
	TryLost            = Key{"It entered the VPN, and no answer came back ({what}). Ask your administrator for a route and an authorization rule for it, or try a port on which the host listens.", "VPNには入りましたが、応答がありません（{what}）。経路と許可ルールについて管理者に問い合わせるか、ホストが待ち受けているポートを試してください。"}
	TryOutside         = Key{"No answer came back, and nothing entered the VPN ({what}). See whether it is connected.", "応答がなく、VPNにも入りませんでした（{what}）。VPNが接続されているか確認してください。"}
	TrySilent          = Key{"No answer came back ({what}). Try a port on which the host listens: host:port.", "応答がありません（{what}）。ホストが待ち受けているポートを「ホスト:ポート」の形で試してください。"}
	TryNoAddress       = Key{"This computer's resolver has no address for {name}.", "{name}のアドレスが見つかりません。"}
	TryNoAddressHint   = Key{"Check the name, or give an address.", "名前を確認するか、アドレスを入力してください。"}
	TryInProgram       = Key{"This VPN ends in a program, so nothing of this computer can be sent into it.", "このVPNはプログラムの中で終わるため、このコンピューターから試すことはできません。"}
	ExplainNotUp       = Key{"No VPN is connected.", "接続中のVPNはありません。"}

	FirstTitle   = Key{"Welcome to Adit", "Aditへようこそ"}
	FirstText    = Key{"Add the VPN profile that you were given (a file ending in .ovpn), or try Adit with a VPN server on this computer.", "お手元のVPNプロファイル（.ovpnファイル）を追加するか、\nこのコンピューター上のVPNサーバーで試してください。"}
	FirstManaged = Key{"Your organization will provide the VPN profiles.", "VPNプロファイルは組織から提供されます。"}
	TryDemo      = Key{"Try it with the bundled server", "付属のサーバーで試す"}
	TryingDemo   = Key{"Starting the bundled server…", "付属のサーバーを起動しています…"}
	DemoFailed   = Key{"The bundled server could not be started ({detail}). Try again, or add a profile of your own.", "付属のサーバーを起動できませんでした（{detail}）。もう一度お試しになるか、お手元のプロファイルを追加してください。"}

	AboutText      = Key{"An open VPN client for AWS Client VPN and every other OpenVPN server.", "AWS Client VPNとすべてのOpenVPNサーバーに対応したオープンなVPNクライアントです。"}
	AboutApp       = Key{"App", "アプリ"}
	AboutService   = Key{"Service", "サービス"}
	AboutUnknown   = Key{"not reached", "応答なし"}
	AboutDiffer    = Key{"App and service are of different versions. Restart the app, or update both.", "アプリとサービスのバージョンが異なります。アプリを再起動するか、両方を更新してください。"}
	ReportText     = Key{"Does something not work? A report helps whoever looks into it. It has your VPN's settings, routes and log, and no passwords or keys. Nothing is sent.", "うまく動かない場合は、調査する人のためにレポートを作成できます。VPNの設定、経路、ログが含まれ、パスワードや鍵は含まれません。送信はされません。"}
	ReportDo       = Key{"Save a report…", "レポートを保存…"}
	ReportBusy     = Key{"Making the report…", "レポートを作成しています…"}
	ReportSaved    = Key{"The report is saved in {file}. Look at it before you give it away.", "レポートを{file}に保存しました。渡す前に内容を確認してください。"}
	ReportNotSaved = Key{"The report could not be saved in {file} ({detail}).", "レポートを{file}に保存できませんでした（{detail}）。"}
	ReportTitle    = Key{"Save a report", "レポートを保存"}

	ManagedTitle    = Key{"Managed by your organization", "組織による管理"}
	ManagedSource   = Key{"Policy", "ポリシー"}
	ManagedProfiles = Key{"Profiles", "プロファイル"}
	ManagedPartly   = Key{"Some of it does not count:", "一部は適用されていません："}
	ManagedBroken   = Key{"The policy cannot be read, so nothing may connect. Tell your administrator:", "ポリシーを読み込めないため、接続できません。管理者にお知らせください："}

	AboutLicence = Key{"Licence", "ライセンス"}
)

// The window's menus, and where files are chosen.
var (
	MenuProfile = Key{"Profile", "プロファイル"}
	MenuView    = Key{"View", "表示"}
	MenuClose   = Key{"Close window", "ウィンドウを閉じる"}
	MenuSearch  = Key{"Search", "検索"}
	MenuCopyLog = Key{"Copy log", "ログをコピー"}
	MenuSaveLog = Key{"Save log…", "ログを保存…"}
	OpenTitle   = Key{"Add a VPN profile", "VPNプロファイルを追加"}
	Open        = Key{"Open", "開く"}
	SaveTitle   = Key{"Save log", "ログを保存"}
	Save        = Key{"Save", "保存"}
)

// The tray and notifications.
var (
	TrayNone           = Key{"Adit: not connected", "Adit：未接続"}
	TrayState          = Key{"{profile}: {state}", "{profile}：{state}"}
	TrayMore           = Key{"{state} (and others)", "{state}（ほか）"}
	TrayOpen           = Key{"Open Adit", "Aditを開く"}
	TrayQuit           = Key{"Quit", "終了"}
	TrayConnect        = Key{"Connect {profile}", "「{profile}」に接続"}
	TrayDisconnect     = Key{"Disconnect {profile}", "「{profile}」を切断"}
	TraySignIn         = Key{"Sign in to {profile}…", "「{profile}」にサインイン…"}
	TrayMoreProfiles   = Key{"More profiles in the window…", "ほかのプロファイルはウィンドウで…"}
	NoteConnected      = Key{"{profile} is connected", "「{profile}」に接続しました"}
	NoteLost           = Key{"{profile} lost its connection", "「{profile}」の接続が切れました"}
	NoteLostForGood    = Key{"{profile} is disconnected", "「{profile}」は切断されました"}
	NoteBlocked        = Key{"{profile}: traffic is blocked", "「{profile}」：通信を遮断しています"}
	NoteAway           = Key{"{profile} may be disconnected", "「{profile}」は切断された可能性があります"}
	NoteAwayText       = Key{"{reason} Traffic may go outside this VPN, or not at all.", "{reason}通信がこのVPNを通らない、または遮断されている可能性があります。"}
	NoteSignIn         = Key{"{profile} needs your sign-in", "「{profile}」へのサインインが必要です"}
	NoteSignInText     = Key{"Open Adit to sign in.", "Aditを開いてサインインしてください。"}
	NoteCertificate    = Key{"The certificate of {profile} expires soon", "「{profile}」の証明書の期限が近づいています"}
	NoteCertificateEnd = Key{"The certificate of {profile} has expired", "「{profile}」の証明書の期限が切れました"}
	BackgroundTitle    = Key{"Keep Adit running?", "Aditの実行を続けますか？"}
	BackgroundText     = Key{"This desktop has no tray for Adit's icon. Adit can keep running in the background; to see this window again, start Adit once more. A VPN that is connected stays so either way, except that the bundled server ends with Adit. You will not be asked again; the settings can change it.", "このデスクトップには、Aditのアイコンを表示するトレイがありません。Aditはバックグラウンドで実行を続けられます。もう一度Aditを起動すると、このウィンドウが表示されます。どちらの場合もVPNの接続は維持されます。ただし、付属のサーバーはAditと同時に終了します。この確認は一度だけです。あとから設定で変更できます。"}
	BackgroundKeep     = Key{"Keep running", "実行を続ける"}
	NoteBackground     = Key{"Adit keeps running", "Aditは実行を続けています"}
	NoteBackgroundText = Key{"Start Adit again to see its window.", "ウィンドウを表示するには、もう一度Aditを起動してください。"}
)

// Arguments of problems that are words. They are found by the English that the service sends.
var arguments = map[string]Key{
	"user name and password":                 {"user name and password", "ユーザー名とパスワード"},
	"user name, password or one-time code":   {"user name, password or one-time code", "ユーザー名、パスワード、またはワンタイムコード"},
	"a tunnel of the whole system":           {"a tunnel of the whole system", "システム全体のトンネル"},
	api.PortalRetried:                        {"the connection is tried again by itself", "接続は自動的に再試行されます"},
	api.PortalOver:                           {"connect again then", "そのあと、もう一度接続してください"},
	"it is not running":                      {"it is not running", "動作していません"},
	"permission denied":                      {"permission denied", "アクセスが拒否されました"},
	"the connection broke":                   {"the connection broke", "接続が切れました"},
	"it is neither an address nor a name":    {"it is neither an address nor a name", "アドレスでも名前でもありません"},
	"it has no address":                      {"it has no address", "アドレスがありません"},
	"it is empty":                            {"it is empty", "空です"},
	"it ends in a space or a dot":            {"it ends in a space or a dot", "末尾が空白またはピリオドです"},
	"it must begin with a letter or a digit": {"it must begin with a letter or a digit", "先頭は文字または数字にしてください"},
	api.FilePDF:                              {"it is a PDF document", "PDF文書です"},
	api.FileArchive:                          {"it is an archive, or a document of an office program", "圧縮ファイルまたはオフィス文書です"},
	api.FilePicture:                          {"it is a picture", "画像です"},
	api.FileWebPage:                          {"it is a web page", "Webページです"},
	api.FileWireGuard:                        {"it is for WireGuard", "WireGuard用の設定です"},
	api.FileBinary:                           {"it is not text", "テキストファイルではありません"},
	api.FileText:                             {"no line of it is one of OpenVPN's", "OpenVPNの設定行が1つもありません"},
	"it is not UTF-8":                        {"it is not UTF-8", "UTF-8ではありません"},
	"the guard is not supported yet":         {"the guard is not supported yet", "ガードはまだ利用できません"},
	"its answer is not in the expected form": {"its answer is not in the expected form", "応答の形式が正しくありません"},
	"redirected away from https":             {"redirected away from https", "https以外に転送されました"},
	"redirected too often":                   {"redirected too often", "転送が多すぎます"},
}
