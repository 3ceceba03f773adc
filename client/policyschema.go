package client

import "github.com/adit-vpn/adit/client/api"

// PolicyKind is the type of a key's value.
type PolicyKind string

// The types of values: as in JSON, with Choice a string out of Choices, Strings a list of strings, and Networks one of
// objects with the members url and cert_sha256, both strings.
const (
	PolicyBool    PolicyKind = "bool"
	PolicyString  PolicyKind = "string"
	PolicyChoice  PolicyKind = "choice"
	PolicyInt     PolicyKind = "int"
	PolicyStrings PolicyKind = "strings"

	PolicyNetworks PolicyKind = "networks"
)

// PolicyWords is a text for administrators in the languages of the project. Names of keys, values and commands stand
// between backquotes.
type PolicyWords struct{ English, Japanese string }

// PolicyOption is one of a Choice's values.
type PolicyOption struct {
	Value string
	Label PolicyWords
}

// PolicyKey is one row of the schema: what the parser goes by, and what templates for management tools are made of
// (installer/mdm).
type PolicyKey struct {
	Name     string
	Since    string // the first version of Adit that knows it: "1.0"
	Kind     PolicyKind
	Choices  []PolicyOption // of a Choice
	Min, Max int            // of an Int
	Most     int            // entries of Strings and Networks; bytes of a String
	Pattern  string         // of a String and of each of Strings: a regular expression that values fit, and few other texts do
	Default  any            // of the kind's type; nil for an empty list
	Example  string         // a value in JSON, such that those of all keys make a policy

	Title   PolicyWords // a few words
	Takes   PolicyWords // what a String, or each entry of a list, is
	Unset   PolicyWords // what is in force without the key, where that is not Default
	Meaning PolicyWords // whole sentences

	field func(*Policy) any        // a pointer to where the value goes
	check func(value string) error // of a String, and of each of Strings; it may be nil
	tidy  func(value string) string
}

// fingerprintPattern is that of a SHA-256 sum as openssl prints it, or as plain hex digits.
const fingerprintPattern = `^:*([0-9A-Fa-f]:*){64}$`

// PolicySchema is every key, in the order in which they are shown and documented.
func PolicySchema() []PolicyKey {
	none := PolicyWords{"none", "なし"}
	all := PolicyWords{"any", "制限なし"}
	return []PolicyKey{
		{Name: "AllowUserProfiles", Since: "1.0", Kind: PolicyBool, Default: true, Example: `false`,
			field: func(p *Policy) any { return &p.AllowUserProfiles },
			Title: PolicyWords{"Let people use profiles of their own", "利用者自身のプロファイルを許可する"},
			Meaning: PolicyWords{"People may import profiles and connect their own. False ends tunnels of such profiles; they can still be exported and removed.",
				"利用者は自分でプロファイルを取り込み、それで接続できます。false にすると、そのようなプロファイルの接続は切断されます。書き出しと削除は引き続きできます。"}},
		{Name: "AllowSavedPasswords", Since: "1.0", Kind: PolicyBool, Default: true, Example: `false`,
			field: func(p *Policy) any { return &p.AllowSavedPasswords },
			Title: PolicyWords{"Let people save passwords", "パスワードの保存を許可する"},
			Meaning: PolicyWords{"Passwords may be kept in a person's keychain. False: none is kept or taken from there.",
				"パスワードを利用者のキーチェーンに保存できます。false にすると、保存も、保存済みパスワードの使用もしません。"}},
		{Name: "AutoConnect", Since: "1.0", Kind: PolicyString, Default: "", Most: api.MaxProfileName, Example: `"corp"`,
			Pattern: `^[\p{L}\p{Nd}][\p{L}\p{Nd}\p{M} ._@+()-]*$`,
			field:   func(p *Policy) any { return &p.AutoConnect }, check: api.CheckName,
			Title: PolicyWords{"Connect a managed profile at sign-in", "サインイン時に管理プロファイルで接続する"},
			Takes: PolicyWords{"name of a managed profile", "管理プロファイルの名前"}, Unset: none,
			Meaning: PolicyWords{"It connects when a person signs in to the machine, at the screen, at a terminal or over ssh (accounts from number 1000 on), and when the key changes or its profile comes while one is. " +
				"For a connection without people there is `AlwaysOn`. Where nobody can tell who signs in (a Linux without logind, Windows where `aditd` was started by hand) it connects when the service starts; " +
				"what needs a person waits in `needs_login` for the first one who signs in to it. Profiles of people's own do not connect by themselves then.",
				"利用者がコンピューターにサインインしたとき（画面、端末、ssh。Linux では番号 1000 以降のアカウント）と、サインイン中にこの値が変わったとき、またはそのプロファイルが届いたときに接続します。" +
					"利用者がいなくても接続する場合は `AlwaysOn` を使います。サインインした人を確認できない環境（logind のない Linux、`aditd` を手動で起動した Windows）ではサービスの開始時に接続し、" +
					"利用者の操作が必要なものは、最初にサインインする人を `needs_login` の状態で待ちます。この値があるあいだ、利用者自身のプロファイルは自動では接続しません。"}},
		{Name: "AlwaysOn", Since: "1.0", Kind: PolicyBool, Default: false, Example: `true`,
			field: func(p *Policy) any { return &p.AlwaysOn },
			Title: PolicyWords{"Keep that profile connected from boot on", "起動時から常に接続したままにする"},
			Meaning: PolicyWords{"`AutoConnect`'s profile is kept connected from boot on: nobody disconnects it, root included, and it is connected again within 30 s when it ended for good. " +
				"Only for a profile that signs in with a certificate alone; for another one it has no effect, which `adit status` says.",
				"`AutoConnect` のプロファイルを起動時から接続したままにします。管理者を含めて誰も切断できず、接続が終了した場合は 30 秒以内に再び接続します。" +
					"証明書だけで認証するプロファイルにのみ有効です。それ以外では効果がなく、そのことは `adit status` に表示されます。"}},
		{Name: "Guard", Since: "1.0", Kind: PolicyChoice, Default: guardAuto, Example: `"lockdown"`,
			Choices: []PolicyOption{
				{guardOff, PolicyWords{"off: nothing is blocked", "off：何も遮断しない"}},
				{guardAuto, PolicyWords{"auto: what belongs into the tunnel leaves by no other way", "auto：トンネルを通すべき通信を、ほかの経路に流さない"}},
				{guardLockdown, PolicyWords{"lockdown: nothing leaves without a tunnel", "lockdown：トンネルなしでは何も通さない"}},
			},
			field: func(p *Policy) any { return &p.Guard },
			Title: PolicyWords{"Guard (kill switch)", "ガード（キルスイッチ）"}, Unset: PolicyWords{"each profile's own", "プロファイルごとの設定"},
			Meaning: PolicyWords{"The guard of every profile. `off`: nothing is blocked. `auto`: from a connection's first configuration until somebody disconnects, what belongs into the tunnel leaves by no other way. " +
				"`lockdown`: nothing leaves without a tunnel, as with `BlockWhenDisconnected`.",
				"すべてのプロファイルのガードの動作です。`off` は何も遮断しません。`auto` は、最初に構成を受け取ってから誰かが切断するまで、トンネルを通すべき通信をほかの経路に流しません。" +
					"`lockdown` は `BlockWhenDisconnected` と同じく、トンネルなしでは何も通しません。"}},
		{Name: "BlockWhenDisconnected", Since: "1.0", Kind: PolicyBool, Default: false, Example: `true`,
			field: func(p *Policy) any { return &p.BlockWhenDisconnected },
			Title: PolicyWords{"Block everything while there is no tunnel", "トンネルがないあいだはすべて遮断する"},
			Meaning: PolicyWords{"As `Guard` `lockdown`: nothing leaves without a tunnel. One profile holds the guard from the start of the service on: `AutoConnect`'s, or the first managed one by name, " +
				"or where there is none the first that any user has. On a machine without any profile nothing is closed. " +
				"A guard that cannot be closed is tried again every 30 seconds.",
				"`Guard` の `lockdown` と同じく、トンネルなしでは何も通しません。サービスの開始時からは一つのプロファイルがガードを保ちます。`AutoConnect` のもの、なければ名前順で最初の管理プロファイル、" +
					"それもなければ利用者の最初のプロファイルです。プロファイルが一つもないコンピューターでは何も遮断しません。閉じられなかったガードは 30 秒ごとに閉じ直します。"}},
		{Name: "AllowLocalNetwork", Since: "1.0", Kind: PolicyBool, Default: true, Example: `true`,
			field: func(p *Policy) any { return &p.AllowLocalNetwork },
			Title: PolicyWords{"Let the local network be reached beside a tunnel", "トンネル使用中のローカルネットワークへの通信を許可する"},
			Meaning: PolicyWords{"The local network can be reached beside a tunnel that takes all traffic. False: the guard closes it there, and cannot be off.",
				"すべての通信がトンネルを通るあいだも、ローカルネットワークに接続できます。false にすると、ガードがローカルネットワークも遮断します。その場合、ガードを off にはできません。"}},
		{Name: "AllowRouteEnforcement", Since: "1.0", Kind: PolicyBool, Default: true, Example: `true`,
			field: func(p *Policy) any { return &p.AllowRouteEnforcement },
			Title: PolicyWords{"Let servers enforce their routes", "サーバーによる経路の強制を許可する"},
			Meaning: PolicyWords{"A server may have its routes win over all others of this machine, over `route-nopull`, `pull-filter` and settings. False: none does; the log says where one asks for it. It counts from the next connection.",
				"サーバーは、このコンピューターのほかのすべての経路、`route-nopull`、`pull-filter`、設定よりも、自身の経路を優先させることができます。false にすると、どのサーバーにも許可しません。要求したサーバーはログに記録されます。次の接続から有効です。"}},
		{Name: "AllowedServers", Since: "1.0", Kind: PolicyStrings, Most: maxPolicyItems, Example: `["vpn.example.com", "*.clientvpn.eu-west-1.amazonaws.com"]`,
			Pattern: `^(\*\.)?[0-9A-Za-z_.:%-]+$`,
			field:   func(p *Policy) any { return &p.AllowedServers }, check: checkPattern, tidy: tidyHost,
			Title: PolicyWords{"Servers that may be connected to", "接続を許可するサーバー"},
			Takes: PolicyWords{"host patterns", "ホスト名のパターン"}, Unset: all,
			Meaning: PolicyWords{"Hosts of `remote` lines that may be connected to; others of the same profile are left out. `*.example.com` is every host below, and not `example.com`; " +
				"an address stands for itself; an empty list allows none. It counts at once, for tunnels that are up, too.",
				"接続を許可する `remote` 行のホストです。同じプロファイルのそれ以外のホストは使いません。`*.example.com` はその下のすべてのホストを表し、`example.com` 自体は含みません。" +
					"アドレスはそのアドレスだけを表します。空のリストは何も許可しません。接続中のトンネルにもすぐに適用されます。"}},
		{Name: "AllowedCAs", Since: "1.0", Kind: PolicyStrings, Most: maxPolicyItems, Pattern: fingerprintPattern,
			Example: `["9F:86:D0:81:88:4C:7D:65:9A:2F:EA:A0:C5:5A:D0:15:A3:BF:4F:1B:2B:0B:82:2C:D1:5D:6C:15:B0:F0:0A:08"]`,
			field:   func(p *Policy) any { return &p.AllowedCAs }, check: checkFingerprint, tidy: tidyFingerprint,
			Title: PolicyWords{"Certificate authorities that may vouch for servers", "サーバーを証明できる認証局"},
			Takes: PolicyWords{"SHA-256 fingerprints", "SHA-256 フィンガープリント"}, Unset: all,
			Meaning: PolicyWords{"The server's certificate must lead to a certificate in the profile's `<ca>` with one of these fingerprints (`openssl x509 -fingerprint -sha256`). " +
				"Where `AllowedServers` is set, too, both must match: a name alone proves nothing. It counts from the next handshake: at the latest when keys are renewed, usually within an hour.",
				"サーバーの証明書は、プロファイルの `<ca>` にあり、フィンガープリント（`openssl x509 -fingerprint -sha256`）がここにある証明書につながる必要があります。" +
					"`AllowedServers` も設定した場合は、両方を満たす必要があります。名前だけでは証明にならないためです。次のハンドシェイクから有効です。遅くとも鍵の更新時（通常は 1 時間以内）に適用されます。"}},
		{Name: "SignInHosts", Since: "1.0", Kind: PolicyStrings, Most: maxPolicyItems, Example: `["login.example.com"]`,
			Pattern: `^[0-9A-Za-z_.:%-]+$`,
			field:   func(p *Policy) any { return &p.SignInHosts }, check: checkHost, tidy: tidyHost,
			Title: PolicyWords{"Hosts for the browser during a sign-in", "サインイン中にブラウザーが接続できるホスト"},
			Takes: PolicyWords{"host names", "ホスト名"}, Unset: none,
			Meaning: PolicyWords{"In lockdown the browser reaches these, beside the sign-in's own host, while a sign-in is open. No patterns: the guard needs addresses.",
				"lockdown では、サインインのあいだ、サインイン先のホストのほかにこれらのホストにもブラウザーが接続できます。ガードにはアドレスが必要なため、パターンは使えません。"}},
		{Name: "MaxConnections", Since: "1.0", Kind: PolicyInt, Min: 1, Max: maxConnections, Default: maxConnections, Example: `2`,
			field: func(p *Policy) any { return &p.MaxConnections },
			Title: PolicyWords{"Tunnels at once", "同時に使えるトンネルの数"},
			Meaning: PolicyWords{"How many tunnels may be open at once. `AlwaysOn` always gets its place, beside as many if need be.",
				"同時に開けるトンネルの数です。`AlwaysOn` の接続は、この数に達していても必ず確保されます。"}},
		{Name: "MinimumTLS", Since: "1.0", Kind: PolicyChoice, Default: "1.2", Example: `"1.2"`,
			Choices: []PolicyOption{{"1.2", PolicyWords{"TLS 1.2", "TLS 1.2"}}, {"1.3", PolicyWords{"TLS 1.3", "TLS 1.3"}}},
			field:   func(p *Policy) any { return &p.MinimumTLS },
			Title:   PolicyWords{"Oldest version of TLS", "許可する最も古い TLS バージョン"},
			Meaning: PolicyWords{"A server or profile that cannot do it is refused. It counts from the next handshake: at the latest when keys are renewed, usually within an hour.",
				"これに対応しないサーバーやプロファイルは拒否します。次のハンドシェイクから有効です。遅くとも鍵の更新時（通常は 1 時間以内）に適用されます。"}},
		{Name: "Language", Since: "1.0", Kind: PolicyChoice, Default: "auto", Example: `"auto"`,
			Choices: []PolicyOption{{"auto", PolicyWords{"the system's", "システムの言語"}}, {"en", PolicyWords{"English", "英語"}}, {"ja", PolicyWords{"Japanese", "日本語"}}},
			field:   func(p *Policy) any { return &p.Language },
			Title:   PolicyWords{"Language of the app", "アプリの言語"},
			Meaning: PolicyWords{"Language of the desktop app; `auto` is the system's, and leaves the choice to people.",
				"デスクトップアプリの言語です。`auto` はシステムの言語で、利用者が選べます。"}},
		{Name: "TrustedNetworks", Since: "1.0", Kind: PolicyNetworks, Most: maxTrustedNetworks,
			Example: `[{"url": "https://office.corp.example.com", "cert_sha256": "9F:86:D0:81:88:4C:7D:65:9A:2F:EA:A0:C5:5A:D0:15:A3:BF:4F:1B:2B:0B:82:2C:D1:5D:6C:15:B0:F0:0A:08"}]`,
			field:   func(p *Policy) any { return &p.TrustedNetworks },
			Title:   PolicyWords{"Networks in which nothing connects by itself", "自動では接続しないネットワーク"},
			Takes:   PolicyWords{"objects with `url` and `cert_sha256`", "`url` と `cert_sha256` を持つオブジェクト"}, Unset: none,
			Meaning: PolicyWords{"Networks in which nothing connects by itself, each known by the certificate of a server in it: `url` (https) says where it is, `cert_sha256` is the fingerprint of the server's own certificate.",
				"自動では接続しないネットワークです。それぞれ、その中にあるサーバーの証明書で見分けます。`url`（https）はサーバーの場所、`cert_sha256` はサーバー自身の証明書のフィンガープリントです。"}},
	}
}
