package i18n

import "github.com/adit-vpn/adit/client/api"

// words are a problem's sentence and what to do about it; lines of a hint are separate hints.
type words struct{ message, hint Key }

// portalHint goes with any problem of a network that names a sign-in page (api.ArgPortal).
var portalHint = Key{"This network names a sign-in page, {portal}. If web pages do not open either, sign in there first.", "このネットワークにはログインページ（{portal}）があります。ほかのページも開けない場合は、先にそこでログインしてください。"}

// noTimeHint goes with any problem that a wrong clock may be behind, where the guard keeps it from being set (api.ArgNoTime).
var noTimeHint = Key{"The guard of {no_time} stops time servers outside of the local network. Set the clock by hand, or disconnect until it is right; in lockdown only the former helps.", "{no_time}のガードがローカルネットワーク外の時刻サーバーを遮断しています。時計を手動で合わせるか、合うまで切断してください。ロックダウンでは手動で合わせる必要があります。"}

// problems has words for every code of client/api, for people who click: no hint names a command, but where
// nothing else helps. It is read-only.
var problems = map[string]words{
	api.CodeServerUnreachable: {
		Key{"{server} does not answer[ ({detail})].", "{server}から応答がありません[（{detail}）]。"},
		Key{"Check that this computer is online. A firewall on the way may stop the VPN; try another network.\nIf it never worked, the profile may be out of date: ask your administrator for a new one.", "このコンピューターがインターネットに接続されているか確認してください。途中のファイアウォールに遮断されている場合もあるため、別のネットワークもお試しください。\n一度も接続できたことがない場合は、プロファイルが古い可能性があります。管理者に新しいものを依頼してください。"}},
	api.CodeServerNameUnknown: {
		Key{"The address of {server} cannot be found[ ({detail})].", "{server}のアドレスが見つかりません[（{detail}）]。"},
		Key{"Check that this computer is online, and that other names can be found, for example in the browser.[\nThe guard of {profile} is closed, and stops what this computer's own name server asks. Disconnect, then connect again. In lockdown connect once with the guard set to automatic.]",
			"このコンピューターがインターネットに接続されているか、ブラウザーなどでほかのサイトが表示できるか確認してください。[\n「{profile}」のガードが、このコンピューター上のネームサーバーからの問い合わせを遮断しています。切断してから接続し直してください。ロックダウンの場合は、ガードを一度「自動」にして接続してください。]"}},
	api.CodeOffline: {
		Key{"This computer is offline: no network leads to {server}.", "オフラインです。{server}に到達できるネットワークがありません。"},
		Key{"Connect to Wi-Fi or plug in the cable. Another VPN may also be in the way.", "Wi-Fiまたはケーブルでネットワークに接続してください。ほかのVPNが妨げている場合もあります。"}},
	api.CodeCaptivePortal: {
		Key{"This network seems to want you to sign in to it first[ ({url})].", "このネットワークの利用にはログインが必要なようです[（{url}）]。"},
		Key{"Open a web page in the browser and sign in to the network; {what}.[\nThe guard of {profile} blocks web pages meanwhile: disconnect it, sign in to the network, and connect again.]", "ブラウザーで任意のページを開き、ネットワークにログインしてください。{what}。[\nその間、{profile}のガードがウェブページを遮断しています。一度切断してネットワークにログインしてから、もう一度接続してください。]"}},
	api.CodeServerRefused: {
		Key{"The server refused the connection[ ({detail})].", "サーバーが接続を拒否しました[（{detail}）]。"},
		Key{"Ask your administrator why.", "理由を管理者にお問い合わせください。"}},
	api.CodeControlKeyWrong: {
		Key{"The profile's key does not match the server's[ ({server})].", "プロファイルの鍵がサーバー[（{server}）]のものと一致しません。"},
		Key{"The profile is out of date: ask your administrator for a new one.", "プロファイルが古い可能性があります。管理者に新しいものを依頼してください。"}},
	api.CodeNoCommonCipher: {
		Key{"This profile and the server[ {server}] have no encryption in common[ ({detail})].", "このプロファイルとサーバー[ {server} ]の間で、共通して使える暗号方式がありません[（{detail}）]。"},
		Key{"Ask your administrator for a new profile, or to update the server.", "管理者に新しいプロファイルの提供、またはサーバーの更新を依頼してください。"}},
	api.CodePushRejected: {
		Key{"The server sent a setting that is refused: {option}[ ({detail})].", "サーバーから送られた設定は受け入れられません：{option}[（{detail}）]"},
		Key{"Ask your administrator to take this setting out on the server.", "サーバーからこの設定を取り除くよう、管理者に依頼してください。"}},
	api.CodeAddressPoolEmpty: {
		Key{"The server has no free address left.", "サーバーに空きアドレスがありません。"},
		Key{"Try again later, or tell your administrator.", "しばらくしてからもう一度お試しになるか、管理者にお知らせください。"}},
	api.CodeSessionEnded: {
		Key{"The server ended the session[ ({reason})].", "サーバーがセッションを終了しました[（{reason}）]。"},
		Key{"Connect again.", "もう一度接続してください。"}},
	api.CodeNetworkChanged: {
		Key{"The network of this computer changed, and {server} does not answer on the old session.", "このコンピューターのネットワークが変わり、{server}が以前のセッションに応答しません。"},
		Key{"Nothing to do: a new session is made at once.", "操作は不要です。新しいセッションを自動的に開始します。"}},
	api.CodeTimeout: {
		Key{"Not connected within {after}[ ({detail})].", "{after}以内に接続できませんでした[（{detail}）]。"},
		Key{"Try again. The log shows how far it got.", "もう一度お試しください。ログで途中経過を確認できます。"}},
	api.CodeTLSFailed: {
		Key{"No secure connection to {server} could be made[ ({detail})].", "{server}との安全な接続を確立できませんでした[（{detail}）]。"},
		Key{"The log shows the steps. Ask your administrator whether the profile fits the server.", "ログで手順を確認できます。プロファイルがサーバーに合っているか、管理者にお問い合わせください。"}},
	api.CodeProtocolError: {
		Key{"{server} does not speak OpenVPN as expected[ ({detail})].", "{server}の応答がOpenVPNの形式ではありません[（{detail}）]。"},
		Key{"The profile may name the wrong server or port: ask your administrator.", "プロファイルのサーバーまたはポートが間違っている可能性があります。管理者にお問い合わせください。"}},

	api.CodeAuthFailed: {
		Key{"The server did not accept the sign-in[ ({reason})].", "サーバーがサインインを受け付けませんでした[（{reason}）]。"},
		Key{"Ask your administrator whether your certificate is still accepted.", "証明書が今も有効か、管理者にお問い合わせください。"}},
	api.CodePasswordRefused: {
		Key{"The server did not accept {what}[ ({reason})].", "{what}が受け付けられませんでした[（{reason}）]。"},
		Key{"[Where “{reason}” is not about them, ask the server's administrator. Otherwise:\n]Type them again. The account may also be locked, or its password may have to be changed first.", "[「{reason}」が入力内容に関するものでない場合は、サーバーの管理者にお問い合わせください。それ以外の場合:\n]もう一度入力してください。アカウントがロックされている、またはパスワードの変更が必要な場合もあります。"}},
	api.CodeCodeRefused: {
		Key{"The server did not accept the one-time code[ ({reason})].", "ワンタイムコードが受け付けられませんでした[（{reason}）]。"},
		Key{"Wait for the next code, and use each one once. If none is accepted, check the clock of the device that makes them.", "次のコードが表示されるのを待ち、1つのコードは一度だけ使ってください。何度も失敗する場合は、コードを表示する機器の時計を確認してください。"}},
	api.CodeBrowserRefused: {
		Key{"The server did not accept the sign-in of the browser[ ({reason})].", "ブラウザーでのサインインが受け付けられませんでした[（{reason}）]。"},
		Key{"Check which account the browser is signed in with. Your administrator may have to allow it to use this VPN.", "ブラウザーでサインインしているアカウントを確認してください。このVPNの利用許可が必要な場合は、管理者に依頼してください。"}},
	api.CodeSignInExpired: {
		Key{"Your sign-in has expired[ ({reason})].", "サインインの有効期限が切れました[（{reason}）]。"},
		Key{"Sign in again.", "もう一度サインインしてください。"}},
	api.CodeSignInTimedOut: {
		Key{"Nobody signed in within {after}.", "{after}以内にサインインがありませんでした。"},
		Key{"Connect again, and sign in in time.", "もう一度接続し、時間内にサインインしてください。"}},
	api.CodeSignInCancelled: {
		Key{"The sign-in was cancelled.", "サインインをキャンセルしました。"},
		Key{"Connect again when you are ready.", "準備ができたら、もう一度接続してください。"}},
	api.CodeSignInInputMissing: {
		Key{"{profile} needs something for the sign-in that was not given.", "「{profile}」のサインインに必要な情報が入力されていません。"},
		Key{"Connect again from this window.", "このウィンドウからもう一度接続してください。"}},
	api.CodeQuestionGone: {
		Key{"This sign-in question is not open any more.", "このサインインはすでに受付を終了しました。"},
		Key{"It was answered already, or it was too late.", "すでに回答済みか、制限時間を過ぎています。"}},

	api.CodeProxyUnreachable: {
		Key{"The proxy {proxy} cannot be reached[ ({detail})].", "プロキシ{proxy}に接続できません[（{detail}）]。"},
		Key{"Check that this computer is in the network where the proxy is, or ask your administrator.", "プロキシのあるネットワークに接続しているか確認するか、管理者にお問い合わせください。"}},
	api.CodeProxyAuthNeeded: {
		Key{"The proxy {proxy} wants a sign-in that the profile does not give[ ({detail})].", "プロキシ{proxy}へのサインイン情報がプロファイルにありません[（{detail}）]。"},
		Key{"Ask your administrator for a profile with the proxy's user name and password.", "プロキシのユーザー名とパスワードを含むプロファイルを管理者に依頼してください。"}},
	api.CodeProxyAuthFailed: {
		Key{"The proxy {proxy} did not accept the sign-in[ ({detail})].", "プロキシ{proxy}がサインインを受け付けませんでした[（{detail}）]。"},
		Key{"Ask your administrator for a profile with the right user name and password for the proxy.", "プロキシの正しいユーザー名とパスワードを含むプロファイルを管理者に依頼してください。"}},
	api.CodeProxyRefused: {
		Key{"The proxy {proxy} does not connect to {server}[ ({detail})].", "プロキシ{proxy}が{server}への接続を拒否しました[（{detail}）]。"},
		Key{"The VPN server may be down. Else ask the proxy's administrator to allow this server and port.", "VPNサーバーが停止している可能性があります。そうでない場合は、このサーバーとポートの許可をプロキシの管理者に依頼してください。"}},
	api.CodeProxyUnusable: {
		Key{"The proxy {proxy} cannot be used[ ({detail})].", "プロキシ{proxy}を使用できません[（{detail}）]。"},
		Key{"The profile may name the wrong kind of proxy: ask your administrator.", "プロファイルのプロキシの種類が間違っている可能性があります。管理者にお問い合わせください。"}},

	api.CodeCertificateUntrusted: {
		Key{"The certificate of {server} is not trusted by this profile[ ({detail})].", "{server}の証明書は、このプロファイルでは信頼されていません[（{detail}）]。"},
		Key{"Do not go on. Ask your administrator for the right profile; on a strange network, somebody may be posing as the server.", "接続しないでください。正しいプロファイルを管理者に依頼してください。不審なネットワークでは、何者かがサーバーになりすましている可能性があります。"}},
	api.CodeCertificateExpired: {
		Key{"The certificate of {server} is not valid now[ ({detail})].", "{server}の証明書は現在有効ではありません[（{detail}）]。"},
		Key{"Check this computer's date and time. If they are right, tell your administrator.", "このコンピューターの日付と時刻を確認してください。正しい場合は、管理者にお知らせください。"}},
	api.CodeCertificateName: {
		Key{"The certificate of {server} names another server[ ({detail})].", "{server}の証明書は別のサーバーのものです[（{detail}）]。"},
		Key{"Do not go on. Ask your administrator for the right profile.", "接続しないでください。正しいプロファイルを管理者に依頼してください。"}},
	api.CodeCertificateUsage: {
		Key{"The certificate of {server} is not one for a server[ ({detail})].", "{server}の証明書はサーバー用ではありません[（{detail}）]。"},
		Key{"Do not go on: somebody may be posing as the server. Tell your administrator.", "接続しないでください。何者かがサーバーになりすましている可能性があります。管理者にお知らせください。"}},
	api.CodeCertificateRevoked: {
		Key{"The certificate of {server} has been revoked[ ({detail})].", "{server}の証明書は失効しています[（{detail}）]。"},
		Key{"Do not go on. Tell your administrator.", "接続しないでください。管理者にお知らせください。"}},
	api.CodeOwnCertificateExpired: {
		Key{"Your certificate is not valid now[ ({detail})].", "あなたの証明書は現在有効ではありません[（{detail}）]。"},
		Key{"Check this computer's date and time. If they are right, ask your administrator for a new profile.", "このコンピューターの日付と時刻を確認してください。正しい場合は、管理者に新しいプロファイルを依頼してください。"}},
	api.CodeOwnCertificateRefused: {
		Key{"The server refuses your certificate[ ({detail})].", "サーバーがあなたの証明書を拒否しました[（{detail}）]。"},
		Key{"It may be revoked: ask your administrator for a new profile.", "失効している可能性があります。管理者に新しいプロファイルを依頼してください。"}},
	api.CodeClockWrong: {
		Key{"The clock of this computer seems wrong: it says {now}, and the certificate[ of {server}] is valid from {from} to {until}.", "このコンピューターの時計が正しくないようです。現在の表示は{now}ですが、[{server}の]証明書の有効期間は{from}から{until}までです。"},
		Key{"Set the clock, best automatically, and connect again.\nIf it is right, ask your administrator for a certificate that is valid now.", "時計を（できれば自動設定で）合わせてから、もう一度接続してください。\n時計が正しい場合は、有効な証明書を管理者に依頼してください。"}},
	api.CodeOwnKeyMismatch: {
		Key{"The profile's private key does not belong to its certificate[ ({detail})].", "プロファイルの秘密鍵と証明書が一致しません[（{detail}）]。"},
		Key{"Ask your administrator for a new profile.", "管理者に新しいプロファイルを依頼してください。"}},

	api.CodeTUNNotPermitted: {
		Key{"The service is not permitted to make a network device[ ({detail})].", "サービスにネットワークデバイスを作成する権限がありません[（{detail}）]。"},
		Key{"Adit may not be installed properly: install it again, or ask your administrator.", "Aditが正しくインストールされていない可能性があります。再インストールするか、管理者にお問い合わせください。"}},
	api.CodeTUNFailed: {
		Key{"The network device could not be made[ ({detail})].", "ネットワークデバイスを作成できませんでした[（{detail}）]。"},
		Key{"Restart this computer and try again, or ask your administrator.", "コンピューターを再起動してもう一度お試しになるか、管理者にお問い合わせください。"}},
	api.CodeNetworkConflict: {
		Key{"{profile} and {other} cannot be connected at once: both [take {network}][have the address {address}].", "{profile}と{other}は同時に接続できません。[どちらも{network}への通信を必要とします][どちらも同じアドレス{address}を使います]。"},
		Key{"Disconnect {other} first, or ask your administrator which of the two is to take this network.", "先に{other}を切断するか、どちらでこのネットワークに接続すべきか管理者にお問い合わせください。"}},
	api.CodeRoutesFailed: {
		Key{"The network routes could not be set[ ({detail})].", "ネットワークの経路を設定できませんでした[（{detail}）]。"},
		Key{"Everything has been put back. Another VPN may be in the way: end it and try again.", "変更はすべて元に戻しました。ほかのVPNが妨げている場合は、終了してからもう一度お試しください。"}},
	api.CodeGuardFailed: {
		Key{"The guard against traffic outside the VPN cannot be set[ ({detail})].", "VPNの外への通信を防ぐガードを設定できません[（{detail}）]。"},
		Key{"It needs nftables (Linux), the service BFE (Windows) or PF (macOS). Without it, set the guard of this profile to off.", "nftables（Linux）、BFEサービス（Windows）、またはPF（macOS）が必要です。使えない場合は、このプロファイルのガードをオフにしてください。"}},
	api.CodeDNSFailed: {
		Key{"The name lookup (DNS) could not be set[ ({detail})].", "名前解決（DNS）を設定できませんでした[（{detail}）]。"},
		Key{"Everything has been put back. The log shows what the system said.", "変更はすべて元に戻しました。詳細はログをご覧ください。"}},
	api.CodeMarkFailed: {
		Key{"The packets to {server} could not be marked[ ({detail})].", "{server}への通信に印を付けられませんでした[（{detail}）]。"},
		Key{"The profile asks for something that the service may not do: ask your administrator.", "サービスに許可されていない動作がプロファイルで指定されています。管理者にお問い合わせください。"}},
	api.CodePlatformUnbuilt: {
		Key{"Not supported yet on this system: {what}.", "このシステムではまだ対応していません：{what}"},
		Key{"See what your system offers in Adit's list of supported platforms.", "Aditの対応プラットフォーム一覧をご確認ください。"}},
	api.CodeProfileStoreError: {
		Key{"The profile {profile} could not be kept[ ({detail})].", "プロファイル「{profile}」を保存できませんでした[（{detail}）]。"},
		Key{"The disk may be full.", "ディスクの空き容量を確認してください。"}},

	api.CodeProfileUnsupported: {
		Key{"This profile cannot be used: [line {line}: ]{reason}", "このプロファイルは使用できません：[{line}行目：]{reason}"},
		Key{"Ask your administrator for a profile without this line.", "この行を含まないプロファイルを管理者に依頼してください。"}},
	api.CodeProfileInvalid: {
		Key{"This profile cannot be read: [line {line}: ]{reason}", "このプロファイルを読み込めません：[{line}行目：]{reason}"},
		Key{"The file may be damaged or incomplete. Ask for it again.", "ファイルが壊れているか、不完全な可能性があります。もう一度入手してください。"}},
	api.CodeProfileNotFound: {
		Key{"There is no profile {profile} any more.", "プロファイル「{profile}」はすでにありません。"},
		Key{"It was removed or renamed elsewhere.", "ほかの場所で削除されたか、名前が変更されました。"}},
	api.CodeProfileExists: {
		Key{"There is already a profile {profile}.", "「{profile}」という名前のプロファイルがすでにあります。"},
		Key{"Choose another name, or replace it.", "別の名前にするか、置き換えてください。"}},
	api.CodeProfileNameInvalid: {
		Key{"{profile} cannot be the name of a profile[ ({detail})].", "{profile}はプロファイルの名前にできません[（{detail}）]。"},
		Key{"Use up to 64 letters, digits, dots, dashes, underscores and spaces; begin with a letter or a digit.", "文字、数字、ピリオド、ハイフン、アンダースコア、空白を64バイトまで使えます。先頭は文字または数字にしてください。"}},
	api.CodeProfileInUse: {
		Key{"The profile {profile} is in use.", "プロファイル「{profile}」は使用中です。"},
		Key{"Disconnect it first.", "先に切断してください。"}},
	api.CodeProfileLocked: {
		Key{"The profile {profile} keeps all traffic blocked (lockdown).", "プロファイル「{profile}」がすべての通信を遮断しています（ロックダウン）。"},
		Key{"Set its guard to automatic first.", "先にガードを「自動」に変更してください。"}},
	api.CodeSettingInvalid: {
		Key{"The setting {setting} cannot be applied[ ({detail})].", "設定「{setting}」を適用できません[（{detail}）]。"},
		Key{"Choose another value. The service may be of another version than this app.", "別の値を選んでください。サービスとアプリのバージョンが異なる可能性もあります。"}},
	api.CodeDestinationInvalid: {
		Key{"The way to {destination} cannot be told[ ({detail})].", "{destination}への経路を調べられません[（{detail}）]。"},
		Key{"Type an IP address, or a host name that this computer can look up.", "IPアドレス、またはこのコンピューターで名前解決できるホスト名を入力してください。"}},
	api.CodeTooManyConnections: {
		Key{"The limit of VPN connections at once is reached: {limit}.", "同時に接続できるVPNの上限（{limit}）に達しています。"},
		Key{"Disconnect another one first.", "先にほかのVPNを切断してください。"}},
	api.CodeProfileManaged: {
		Key{"Your organization manages the profile {profile}. It can be connected, but not changed, exported or removed.", "プロファイル「{profile}」は組織が管理しています。接続はできますが、変更、エクスポート、削除はできません。"},
		Key{"Ask your administrator.", "管理者にお問い合わせください。"}},
	api.CodeManaged: {
		Key{"Your organization has decided this ({key}[ in {file}]).", "この項目は組織の設定により決められています（{key}[、{file}]）。"},
		Key{"Only your administrator can change it.", "変更できるのは管理者だけです。"}},
	api.CodeAlwaysOn: {
		Key{"Your organization keeps {profile} connected[ (AlwaysOn in {file})].", "「{profile}」は組織の設定により常時接続されています[（{file}のAlwaysOn）]。"},
		Key{"Only your administrator can change that.", "変更できるのは管理者だけです。"}},
	api.CodeServerNotAllowed: {
		Key{"Your organization does not allow connections to {server}[ ({detail})].", "{server}への接続は組織の設定により許可されていません[（{detail}）]。"},
		Key{"Ask your administrator.", "管理者にお問い合わせください。"}},
	api.CodePolicyUnreadable: {
		Key{"Your organization's settings for this computer cannot be read, so nothing connects[ ({detail})].", "このコンピューターに対する組織の設定を読み込めないため、接続できません[（{detail}）]。"},
		Key{"Ask your administrator to mend them; Adit notices by itself.", "管理者に修正を依頼してください。修正されると自動的に反映されます。"}},
	api.CodeNotConnected: {
		Key{"{profile} is not connected.", "「{profile}」は接続されていません。"},
		Key{"Connect it first.", "先に接続してください。"}},
	api.CodeAlreadyConnected: {
		Key{"{profile} is connected already.", "「{profile}」はすでに接続されています。"},
		Key{"There is nothing to do.", "操作は不要です。"}},
	api.CodeAnotherSignsIn: {
		Key{"{profile} waits for another user of this computer to sign in.", "「{profile}」は、このコンピューターのほかのユーザーのサインインを待っています。"},
		Key{"Once they have signed in, it is connected for everybody. If they have left the computer, choose Connect to take their place. Otherwise your administrator can end it.", "そのユーザーがサインインすると、全員が接続を利用できます。すでにコンピューターからサインアウトしている場合は、「接続」を選ぶと引き継げます。それ以外の場合は、管理者に切断を依頼してください。"}},
	api.CodeNotPermitted: {
		Key{"You are not permitted to do this.", "この操作を行う権限がありません。"},
		Key{"Ask your administrator; on Linux you need to be in the group adit, elsewhere to sit at the machine itself.", "管理者にお問い合わせください。Linux以外では本体の画面からの操作が必要です。Linuxではaditグループに所属している必要があります。"}},
	api.CodeNotOwner: {
		Key{"{profile} belongs to {owner}.", "「{profile}」は{owner}のものです。"},
		Key{"Only its owner can do this.", "この操作は所有者だけが行えます。"}},
	api.CodeServiceUnreachable: {
		Key{"The Adit service does not answer[ ({detail})].", "Aditサービスが応答しません[（{detail}）]。"},
		Key{"Start it, or ask your administrator.", "サービスを開始するか、管理者にお問い合わせください。"}},
	api.CodeServiceStopping: {
		Key{"The Adit service is stopping.", "Aditサービスを停止しています。"},
		Key{"Try again when it is back.", "再開してからもう一度お試しください。"}},
	api.CodeRequestInvalid: {
		Key{"The Adit service does not understand this app[ ({detail})].", "Aditサービスがこのアプリの要求を理解できません[（{detail}）]。"},
		Key{"They may be of different versions: update both, and start the app again.", "バージョンが異なる可能性があります。両方を更新し、アプリを再起動してください。"}},
	api.CodeInternal: {
		Key{"Something went wrong inside[ ({detail})].", "内部エラーが発生しました[（{detail}）]。"},
		Key{"The log may say more. Please report it.", "詳細はログをご覧ください。問題の報告にご協力をお願いします。"}},

	api.CodeFileNotFound: {
		Key{"There is no file {file}.", "{file}というファイルはありません。"},
		Key{"It may have been moved. Choose it again.", "移動された可能性があります。もう一度選択してください。"}},
	api.CodeFileUnreadable: {
		Key{"{file} cannot be read[ ({detail})].", "{file}を読み込めません[（{detail}）]。"},
		Key{"Check that you may read this file.", "このファイルの読み取り権限を確認してください。"}},
	api.CodeFileTooLarge: {
		Key{"{file} is larger than {limit}.", "{file}は{limit}を超えています。"},
		Key{"This does not look like a VPN profile. Choose another file.", "VPNプロファイルではないようです。別のファイルを選んでください。"}},
	api.CodeNotAProfile: {
		Key{"{file} is no VPN profile: {what}.", "{file}はVPNプロファイルではありません：{what}"},
		Key{"Choose the file that ends in .ovpn. If it came in an archive, unpack that first.", ".ovpnで終わるファイルを選んでください。圧縮ファイルの場合は、先に展開してください。"}},
	api.CodeURLNotHTTPS: {
		Key{"{url} is not an https address. A profile holds keys, and must not travel in the clear.", "{url}はhttpsのアドレスではありません。プロファイルには鍵が含まれるため、暗号化せずに取得することはできません。"},
		Key{"Use an address that begins with https://, or add the profile from a file.", "https://で始まるアドレスを入力するか、ファイルから追加してください。"}},
	api.CodeFetchFailed: {
		Key{"The profile could not be got from {url}[ ({detail})].", "{url}からプロファイルを取得できませんでした[（{detail}）]。"},
		Key{"Check the address in a browser, or save the file there and add it from the file.", "ブラウザーでアドレスを確認するか、ファイルとして保存してから追加してください。"}},
}
