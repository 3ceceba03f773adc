package i18n

import (
	"strings"

	"github.com/adit-vpn/adit/ovpn/profile"
)

// Remark words what a check found in a profile. What only a newer version knows stays in its own English words.
func Remark(l Language, f profile.Finding) string {
	k, ok := remarks[f.Code]
	if !ok || l == English {
		return f.Text
	}
	line := map[string]string{"directive": f.Directive, "reason": fill(k.template(l), f.Args)}
	switch {
	case f.Ignored:
		return fill(lineIgnored.template(l), line)
	case f.Directive != "":
		return fill(lineRemark.template(l), line)
	}
	return line["reason"]
}

// What stands around a remark about one line.
var (
	lineIgnored = Key{"{directive} is ignored: {reason}", "{directive}は無視されます。{reason}"}
	lineRemark  = Key{"{directive}: {reason}", "{directive}：{reason}"}
)

// Unreadable words why a text cannot be read as a profile.
func Unreadable(l Language, r *profile.Remark) string {
	k, ok := remarks[r.Code]
	if !ok {
		return r.Error()
	}
	return fill(k.template(l), r.Args)
}

// fill puts arguments into words in which brackets mean nothing.
func fill(template string, args map[string]string) string {
	var pairs []string
	for name, value := range args {
		pairs = append(pairs, "{"+name+"}", value)
	}
	return strings.NewReplacer(pairs...).Replace(template)
}

// remarks has words for every code of ovpn/profile. It is read-only.
var remarks = map[profile.Code]Key{
	// Why a line is ignored.
	"server_only":          {"only a server uses it", "サーバーだけが使う設定です。"},
	"float":                {"a server that has moved is found again with a new session", "移動したサーバーには、新しいセッションで接続し直します。"},
	"openvpn_ignores":      {"openvpn ignores it as well", "OpenVPN自身も無視します。"},
	"system_default":       {"the system's default is used", "システムの標準値を使います。"},
	"device_names":         {"the service names its devices", "デバイス名はサービスが決めます。"},
	"no_compression":       {"nothing is compressed", "圧縮は行いません。"},
	"tun_mtu_decides":      {"tun-mtu decides", "tun-mtuの値に従います。"},
	"routes_at_once":       {"routes and addresses are set at once by system calls", "経路とアドレスは、システムコールで一度に設定します。"},
	"module_not_named":     {"a module is a program, and a profile names none: name it with adit connect --userspace --pkcs11 MODULE", "モジュールはプログラムなので、プロファイルからは指定できません。adit connect --userspace --pkcs11 MODULEで指定してください。"},
	"token_pin":            {"the token says itself how it wants its PIN; it is asked for once", "PINの入力方法はトークン自身が示します。入力は一度だけ求めます。"},
	"always_negotiated":    {"the cipher is always negotiated", "暗号方式は常にネゴシエーションで決めます。"},
	"crypto_tls":           {"crypto/tls is used", "crypto/tlsを使います。"},
	"tls13_suites":         {"TLS 1.3 has no weak ciphers: crypto/tls chooses", "TLS 1.3に弱い暗号はないため、crypto/tlsが選びます。"},
	"feeds_scripts":        {"it only feeds scripts", "スクリプト専用の設定です。"},
	"server_pushes":        {"the server pushes it", "サーバーから送られる設定です。"},
	"handshake_again":      {"a failed handshake is tried again after a pause", "ハンドシェイクに失敗した場合は、しばらくしてからやり直します。"},
	"not_needed":           {"not needed", "必要ありません。"},
	"not_needed_here":      {"not needed by a tunnel of this kind", "この種類のトンネルでは必要ありません。"},
	"no_program_reads":     {"no program is run that could read it", "これを読むプログラムは実行されません。"},
	"no_program":           {"no program named by a profile is ever run", "プロファイルで指定されたプログラムは、決して実行しません。"},
	"service_decides":      {"the service decides", "サービスが決めます。"},
	"no_management":        {"there is no management interface", "管理インターフェースはありません。"},
	"access_server":        {"a note of Access Server", "Access Serverの注記です。"},
	"each_try":             {"each try looks a name up once; connect-retry-max says how many tries there are", "名前解決は接続を試みるたびに一度だけ行います。試行回数はconnect-retry-maxで決まります。"},
	"passphrase_once":      {"adit import asks for the passphrase once", "パスフレーズの入力は、追加するときに一度だけ求めます。"},
	"outside_connection":   {"is taken outside of <connection> only", "<connection>の外でのみ有効です。"},
	"unknown_directive":    {"unknown directive", "不明な設定です。"},
	"unknown_block":        {"unknown inline block", "不明なブロックです。"},
	"auth_unused":          {"only tls-auth and old ciphers need it: nothing does here", "tls-authと古い暗号方式だけが使う設定で、ここでは使われません。"},
	"fallback_replaces":    {"data-ciphers-fallback replaces it", "data-ciphers-fallbackが優先されます。"},
	"cipher_refused":       {"{cipher} is broken and refused: a better one is negotiated, or the connection fails; an administrator can enable it with aditd --allow-insecure-ciphers", "{cipher}は安全でないため使いません。より良い方式を使うか、使えなければ接続できません。管理者はaditd --allow-insecure-ciphersで有効にできます。"},
	"cipher_broken":        {"{cipher} is broken; a better one is negotiated, or the connection fails", "{cipher}は安全でないため使いません。より良い方式を使うか、使えなければ接続できません。"},
	"cipher_other":         {"{cipher} is not supported; another one is negotiated, or the connection fails", "{cipher}には対応していません。ほかの方式を使うか、使えなければ接続できません。"},
	"ciphers_default":      {"{ciphers}: broken and refused; the default is offered instead; an administrator can enable it with aditd --allow-insecure-ciphers", "{ciphers}は安全でないため、代わりに標準の方式を使います。管理者はaditd --allow-insecure-ciphersで有効にできます。"},
	"no_suite":             {"names no suite that crypto/tls has; its default is used", "crypto/tlsで使える暗号スイートがないため、標準のものを使います。"},
	"no_group":             {"names no group that crypto/tls has; its default is used", "crypto/tlsで使えるグループがないため、標準のものを使います。"},
	"no_tcp":               {"no server is reached over TCP", "TCPで接続するサーバーがありません。"},
	"exit_notify_over_tcp": {"explicit-exit-notify has no effect over TCP", "explicit-exit-notifyはTCPでは効果がありません。"},

	"udp_left_out": {"servers over UDP are left out: an HTTP proxy cannot carry it", "HTTPプロキシはUDPを通せないため、UDPのサーバーは使いません。"},

	"device_posture": {"only AWS's own client sends what the provider says of the device: an endpoint whose policy needs that refuses this one", "デバイスの状態を送るのはAWSのクライアントだけです。それを求めるポリシーのあるエンドポイントには接続を断られます。"},

	// What is not supported.
	"system_store":        {"not supported yet: keys in the system's store", "システムの証明書ストアの鍵にはまだ対応していません。"},
	"token_hidden":        {"not supported yet: certificates that a token hides until the PIN is given, and ids from a management interface", "PINを入力するまで見えないトークンの証明書と、管理インターフェースからのIDには、まだ対応していません。"},
	"dev_null":            {"not supported yet: dev null", "dev nullにはまだ対応していません。"},
	"tap":                 {"not supported yet: TAP devices (Ethernet frames); ask for a server with dev tun", "TAPデバイス（イーサネットフレーム）にはまだ対応していません。dev tunのサーバーを管理者に依頼してください。"},
	"proxy_password":      {"not supported yet: asking for the proxy's password; name it in <{directive}-user-pass>", "プロキシのパスワードの入力にはまだ対応していません。<{directive}-user-pass>に記入してください。"},
	"digest_unsupported":  {"not supported: digest {digest}", "ダイジェスト{digest}には対応していません。"},
	"ciphers_unsupported": {"not supported: {ciphers}", "{ciphers}には対応していません。"},
	"needs_passphrase":    {"needs its passphrase: adit import asks for it, and stores the key without", "パスフレーズが必要です。追加するときに入力を求め、パスフレーズなしで保管します。"},

	// Why a line is refused.
	"server_file":            {"this is a server's file", "これはサーバー用のファイルです。"},
	"directory":              {"a directory cannot be imported: name the certificate with ca", "ディレクトリは取り込めません。caで証明書を指定してください。"},
	"crl_directory":          {"a directory cannot be imported: name one file", "ディレクトリは取り込めません。ファイルを1つ指定してください。"},
	"other_file":             {"another file cannot be included: put its lines here", "ほかのファイルは取り込めません。その内容をここに書いてください。"},
	"static_key":             {"a static key has no forward secrecy: use certificates", "静的鍵では、過去の通信を守れません（前方秘匿性がありません）。証明書を使ってください。"},
	"replay":                 {"packets could be replayed", "パケットを再送される攻撃を防げません。"},
	"nonces":                 {"packets would repeat their nonces", "同じナンスが繰り返し使われます。"},
	"tls_remote":             {"removed from openvpn; write verify-x509-name", "OpenVPNから削除された設定です。verify-x509-nameを使ってください。"},
	"unknown_security":       {"unknown, and by its name it checks who the server is: ignoring it is not safe", "不明な設定ですが、名前からサーバーの検証に関わると考えられるため、無視すると危険です。"},
	"unknown_security_block": {"unknown inline block, and by its name it is about security", "不明なブロックですが、名前からセキュリティに関わると考えられます。"},
	"values":                 {"wrong number of values; want: {usage}", "値の数が正しくありません。必要な値：{usage}"},
	"control_character":      {"has a control character", "制御文字が含まれています。"},
	"value":                  {"{detail}", "値が正しくありません（{detail}）。"},
	"number":                 {"{field} {value} is not a number from {low} to {high}", "{value}は{low}から{high}までの数値ではありません。"},
	"one_of":                 {"{field} {value} is not one of {words}", "{value}は使用できません。使用できる値：{words}"},
	"host":                   {"host {value} is not a name or an address", "{value}は名前でもアドレスでもありません。"},
	"protocol":               {"proto {value} is not udp or tcp (or with 4 or 6 behind it)", "{value}はudpでもtcpでもありません。"},
	"file_refused":           {"refers to the file {file}; only profiles with everything inline are taken here", "ファイル{file}を参照しています。ここでは、すべてを含むプロファイルだけを取り込めます。"},
	"file_unreadable":        {"cannot read {file}: {detail}", "{file}を読み込めません（{detail}）。"},
	"no_certificate":         {"holds no certificate: truncated or not PEM?", "証明書がありません。途中で切れているか、PEM形式ではない可能性があります。"},
	"no_private_key":         {"holds no private key: truncated or not PEM?", "秘密鍵がありません。途中で切れているか、PEM形式ではない可能性があります。"},
	"certificates_damaged":   {"{damaged} of {all} certificates are truncated or damaged", "{all}件の証明書のうち{damaged}件が壊れているか、途中で切れています。"},
	"no_static_key":          {"holds no OpenVPN static key", "OpenVPNの静的鍵がありません。"},
	"static_key_truncated":   {"the OpenVPN static key is truncated", "OpenVPNの静的鍵が途中で切れています。"},
	"static_key_damaged":     {"the OpenVPN static key is not 256 bytes in hex", "OpenVPNの静的鍵が256バイトの16進数ではありません。"},
	"no_server":              {"no server is named", "サーバーが指定されていません。"},
	"connection_empty":       {"has no remote", "remoteがありません。"},
	"connection_open":        {"is never closed", "閉じられていません。"},
	"control_keys":           {"cannot be used beside tls-crypt: one of tls-auth, tls-crypt and tls-crypt-v2", "tls-auth、tls-crypt、tls-crypt-v2は、いずれか1つだけを使えます。"},
	"needs_ca":               {"needs a ca", "caが必要です。"},
	"no_digest":              {"without a digest packets could be forged", "ダイジェストがないと、パケットを偽造される恐れがあります。"},
	"no_encryption":          {"packets would not be encrypted", "パケットが暗号化されません。"},
	"unknown_cipher":         {"unknown cipher {cipher}", "{cipher}は不明な暗号方式です。"},
	"only_broken":            {"names only broken ciphers: {ciphers}", "安全でない暗号方式だけが指定されています：{ciphers}"},
	"proxy_udp":              {"an HTTP proxy cannot carry UDP: write proto tcp", "HTTPプロキシはUDPを通せません。proto tcpを指定してください。"},
	"not_login":              {"is not a user name and a password, a line each", "ユーザー名とパスワードを1行ずつ書いたものではありません。"},

	// Why a text cannot be read at all.
	"too_large":  {"larger than {limit} bytes", "{limit}バイトを超えています。"},
	"utf16":      {"is UTF-16: save it as UTF-8", "UTF-16で保存されています。UTF-8で保存してください。"},
	"not_utf8":   {"is not UTF-8: save the file as UTF-8", "UTF-8ではありません。UTF-8で保存してください。"},
	"nul":        {"has a NUL byte: not a text file", "NULバイトが含まれており、テキストファイルではありません。"},
	"long_line":  {"longer than {limit} bytes", "行が{limit}バイトを超えています。"},
	"block_open": {"<{tag}> is never closed", "<{tag}>が閉じられていません。"},

	// The certificates and the key.
	"no_server_check":        {"nothing tells the server's certificate from another client's: anybody with a certificate of this CA could pose as the server; add \"remote-cert-tls server\"", "サーバーの証明書と、ほかの利用者の証明書を区別できません。このCAの証明書を持つ人なら誰でもサーバーになりすませます。「remote-cert-tls server」を追加してください。"},
	"certificate_expired":    {"{role} certificate {subject} expired on {date}", "{subject}の証明書は{date}に期限が切れました。"},
	"certificate_not_yet":    {"{role} certificate {subject} is valid only from {date} on; this machine's clock says {now}", "{subject}の証明書は{date}から有効です。このコンピューターの時計は{now}です。"},
	"certificate_ends":       {"{role} certificate {subject} expires on {date}", "{subject}の証明書は{date}に期限が切れます。"},
	"weak_key":               {"{role} certificate {subject} has a weak key of {bits} bits", "{subject}の証明書の鍵は{bits}ビットしかなく、強度が不足しています。"},
	"sha1":                   {"{role} certificate {subject} is signed with SHA-1: most servers refuse it", "{subject}の証明書はSHA-1で署名されており、ほとんどのサーバーが拒否します。"},
	"other_ca":               {"the client certificate is not issued by the profile's CA: the server must trust another CA for clients", "クライアント証明書は、このプロファイルのCAが発行したものではありません。サーバーが別のCAを信頼している必要があります。"},
	"unseen_pkcs12":          {"not looked at without its passphrase: the certificate, the private key and any CA in the PKCS#12 file", "パスフレーズがないため、PKCS#12ファイルの証明書、秘密鍵、CAは確認していません。"},
	"unseen_key":             {"not looked at without its passphrase: whether the private key is whole and belongs to the certificate", "パスフレーズがないため、秘密鍵が正しく、証明書と一致するかは確認していません。"},
	"key_on_token":           {"the private key is on a token (pkcs11-id): only adit connect --userspace --pkcs11 MODULE can use it", "秘密鍵はトークンにあります（pkcs11-id）。adit connect --userspace --pkcs11 MODULEでのみ使えます。"},
	"pkcs12_locked":          {"the PKCS#12 file needs its passphrase: adit import asks for it, and stores the key without", "PKCS#12ファイルのパスフレーズが必要です。追加するときに入力を求め、パスフレーズなしで保管します。"},
	"pkcs12_ca_locked":       {"the PKCS#12 file, which may hold the CA, needs its passphrase: adit import asks for it, and stores the key without", "CAを含む可能性のあるPKCS#12ファイルのパスフレーズが必要です。追加するときに入力を求め、パスフレーズなしで保管します。"},
	"key_locked":             {"the private key needs its passphrase: adit import asks for it, and stores the key without", "秘密鍵のパスフレーズが必要です。追加するときに入力を求め、パスフレーズなしで保管します。"},
	"certificate_missing":    {"the profile has no client certificate (cert)", "プロファイルにクライアント証明書（cert）がありません。"},
	"key_missing":            {"the profile has no private key (key)", "プロファイルに秘密鍵（key）がありません。"},
	"certificate_broken":     {"client certificate: {detail}", "クライアント証明書を読み込めません（{detail}）。"},
	"key_mismatch":           {"the private key does not belong to the client certificate", "秘密鍵とクライアント証明書が一致しません。"},
	"key_broken":             {"private key: {detail}", "秘密鍵を読み込めません（{detail}）。"},
	"own_expired":            {"the client certificate expired on {date}", "クライアント証明書は{date}に期限が切れました。"},
	"own_not_yet":            {"the client certificate is valid only from {date} on; this machine's clock says {now}", "クライアント証明書は{date}から有効です。このコンピューターの時計は{now}です。"},
	"ca_missing":             {"the profile names no CA (ca) and no peer-fingerprint: the server cannot be checked", "プロファイルにCA（ca）もpeer-fingerprintもないため、サーバーを検証できません。"},
	"ca_broken":              {"ca: {detail}", "CAの証明書を読み込めません（{detail}）。"},
	"revocation_list_broken": {"crl-verify: {detail}", "失効リストを読み込めません（{detail}）。"},
}
