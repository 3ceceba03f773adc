package endpoint

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/adit-vpn/adit/endpoint/auth"
	"github.com/adit-vpn/adit/endpoint/cedar"
	"github.com/adit-vpn/adit/ovpn"
)

// evaluations waits for n lines of the connection log, and returns what they have of the policy; nil: nothing.
func (r *running) evaluations(t *testing.T, n int) []map[string]any {
	t.Helper()
	r.until(t, func() bool { return strings.Count(r.journal.String(), "\n") >= n })
	var out []map[string]any
	for line := range strings.Lines(r.journal.String()) {
		var e struct {
			Evaluation map[string]any `json:"authorization-policy-evaluation"`
		}
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatal(err)
		}
		out = append(out, e.Evaluation)
	}
	if len(out) != n {
		t.Fatalf("the connection log has not %d lines:\n%s", n, r.journal)
	}
	return out
}

// last is the newest line of the connection log.
func (r *running) last(t *testing.T) map[string]any {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(r.journal.String()), "\n")
	var e map[string]any
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &e); err != nil {
		t.Fatal(err)
	}
	return e
}

func (r *running) policy(t *testing.T, text string) int {
	t.Helper()
	if err := os.WriteFile(filepath.Join(r.dir, "policy.cedar"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	reset, err := r.Reload(t.Context(), r.config(t, r.text))
	if err != nil {
		t.Fatal(err)
	}
	return reset
}

// leaves waits until a client is told to go in a way, and returns why.
func leaves(t *testing.T, d *dialer, how string) string {
	t.Helper()
	ev := wait[ovpn.PeerExit](t, d)
	if ev.Kind != how {
		t.Errorf("told %+v", ev)
	}
	return ev.Reason
}

const everybody = "permit(principal, action, resource);\n"

// TestPolicy: a policy judges each connection by who the client is and where it is from; what it decides is in the connection log, and
// only an enforced one ends sessions.
func TestPolicy(t *testing.T) {
	r := startWith(t, "udp", withUsers(t, "  - directory: {users: USERS}\n"))
	cfg := r.tlsConfig(t, "ann")
	cfg.Certificates = nil
	r.user, r.password, r.peerInfo = "ann", "secret", []string{"IV_PLAT=win", "IV_PLAT_VER=10.0", "IV_GUI_VER=Adit_1"}
	plain := r.dial(t, cfg)
	wait[ovpn.PushReply](t, plain)
	if got := r.evaluations(t, 1)[0]; got != nil {
		t.Errorf("without a policy: %v", got)
	}
	before := r.text
	with := func(more string) { r.text = before + "authorization_policy: {file: policy.cedar" + more + "}\n" }

	// In shadow mode nobody notices, but for the log.
	with(", shadow: true")
	if n := r.policy(t, `permit(principal, action, resource) when { context["active-directory"].groups.contains("nobody") };`); n != 0 {
		t.Errorf("%d sessions were reset by a policy in shadow mode", n)
	}
	shadowed := r.dial(t, cfg)
	wait[ovpn.PushReply](t, shadowed)
	want := map[string]any{"result": "deny", "evaluation-type": "connection-attempt", "shadow-mode": "enabled", "reason": "policy-deny", "device-token-status": map[string]any{}}
	if got := r.evaluations(t, 2)[1]; !reflect.DeepEqual(got, want) {
		t.Errorf("shadow: %v", got)
	}
	if c := r.Connections(); len(c) != 2 || c[0].Evaluated.IsZero() == c[1].Evaluated.IsZero() {
		t.Errorf("connections %+v", c)
	}

	// Enforced, even in the same words, it ends all sessions.
	with("")
	if n := r.policy(t, everybody); n != 2 {
		t.Errorf("%d sessions were reset", n)
	}
	leaves(t, plain, "restart")
	leaves(t, shadowed, "restart")
	r.evaluations(t, 4)
	permitted := r.dial(t, cfg)
	reply := wait[ovpn.PushReply](t, permitted).Reply
	permitted.ping(t, reply.Address.Addr())
	want = map[string]any{"result": "permit", "evaluation-type": "connection-attempt", "shadow-mode": "disabled", "device-token-status": map[string]any{}}
	if got := r.evaluations(t, 5)[4]; !reflect.DeepEqual(got, want) {
		t.Errorf("permitted: %v", got)
	}
	if n := r.policy(t, everybody); n != 0 {
		t.Errorf("%d sessions were reset by the same policy", n)
	}

	// What is known of a client decides, and goes into the log where that is wanted.
	r.text += "connection_log: {stdout: true, include_authorization_policy_context: true}\n"
	r.policy(t, `permit(principal, action, resource) when {
  context["active-directory"].username == "ann" && context["active-directory"].groups.contains("admins") &&
  context.connection.platform == "win" && context.connection["platform-version"] == "10.0" && context.connection["aws-client-version"] == "Adit_1" &&
  ip(context.connection["public-ip"]).isLoopback() && context.connection["endpoint-id"] like "cvpn-endpoint-*" };
forbid(principal, action, resource) when { context has saml || context has "mutual-authentication" || context has crowdstrike };`)
	leaves(t, permitted, "restart")
	r.evaluations(t, 6)
	judged := r.dial(t, cfg)
	wait[ovpn.PushReply](t, judged)
	got := r.evaluations(t, 7)[6]
	context, _ := got["context"].(map[string]any)
	if person, _ := context["active-directory"].(map[string]any); got["result"] != "permit" || person["username"] != "ann" || !reflect.DeepEqual(person["groups"], []any{"admins"}) {
		t.Errorf("with context: %v", got)
	}

	// A denial, and what cannot be evaluated, are refused in AWS's words.
	for i, c := range []struct{ policy, result string }{
		{`permit(principal, action, resource) when { context.connection.platform == "mac" };`, cedar.Deny},
		{`permit(principal, action, resource) when { context.crowdstrike.assessment.overall > 50 };`, cedar.Failed},
	} {
		if r.policy(t, c.policy); i == 0 {
			leaves(t, judged, "restart")
			r.evaluations(t, 8)
		}
		if ev := wait[ovpn.AuthFailed](t, r.dial(t, cfg)); ev.Kind != ovpn.Denied || ev.Reason != tellPolicy {
			t.Errorf("told %+v", ev)
		}
		if got := r.evaluations(t, 9+i)[8+i]; got["result"] != c.result || got["reason"] != "policy-deny" {
			t.Errorf("%v", got)
		}
		if e := r.last(t); e["connection-attempt-status"] != "failed" || e["connection-attempt-failure-reason"] != "authorization-policy-deny" || e["username"] != "ann" {
			t.Errorf("%v", e)
		}
	}
	if m := r.Metrics(); m.AuthenticationFailures != 0 {
		t.Errorf("counted %+v", m)
	}

	// One that cannot be read is refused with its line, and the old one stays.
	before, shadow, ok := r.Policy()
	if !strings.Contains(before, "principal") || shadow || !ok {
		t.Errorf("in force: %q, shadow %v, %v", before, shadow, ok)
	}
	if err := os.WriteFile(filepath.Join(r.dir, "policy.cedar"), []byte(everybody+"permit(principal"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Reload(t.Context(), r.config(t, r.text)); err == nil || !strings.Contains(err.Error(), "policy.cedar: line 2") {
		t.Errorf("a broken policy: %v", err)
	}
	if text, _, _ := r.Policy(); text != before {
		t.Errorf("in force after it: %q", text)
	}
	wait[ovpn.AuthFailed](t, r.dial(t, cfg))
}

// TestPolicyAgain: sessions are judged again from time to time, and one that is not permitted any more ends.
func TestPolicyAgain(t *testing.T) {
	r := start(t, "udp")
	r.text += "authorization_policy: {file: policy.cedar, every: 1s}\n"
	r.policy(t, everybody)
	stays, goes := r.dial(t, r.tlsConfig(t, "bob")), r.dial(t, r.tlsConfig(t, "ann"))
	wait[ovpn.PushReply](t, stays)
	wait[ovpn.PushReply](t, goes)
	r.evaluations(t, 2)
	peers := map[string]*peer{}
	for _, p := range r.peers.all() {
		peers[p.status.Load().identity.CommonName] = p
	}
	type answer struct {
		e  evaluation
		at int64
	}
	see := func(p *peer) answer {
		seen := make(chan answer, 1)
		p.do <- func(time.Time, *ovpn.Session) error { seen <- answer{*p.evaluation, p.evaluated.Load()}; return nil }
		return <-seen
	}
	r.until(t, func() bool {
		return see(peers["ann"]).e.Type == periodically && see(peers["bob"]).e.Type == periodically
	})
	first := see(peers["ann"])
	r.until(t, func() bool { return see(peers["ann"]).at > first.at }) // and again

	// The same session in other circumstances: here the generation's policy is another one, and nobody was told.
	g := *r.gen.Load()
	parsed, err := cedar.Parse(`forbid(principal, action, resource) when { context["mutual-authentication"]["common-name"] == "ann" };` + everybody)
	if err != nil {
		t.Fatal(err)
	}
	g.policy = &policy{cedar: parsed, text: "other", every: time.Second}
	for _, p := range peers {
		p.gen.Store(&g)
	}
	if why := leaves(t, goes, "halt"); why != tellPolicy {
		t.Errorf("told %q", why)
	}
	got := r.evaluations(t, 3)[2]
	if got["result"] != "deny" || got["evaluation-type"] != "periodic" || got["reason"] != "policy-deny" {
		t.Errorf("%v", got)
	}
	if e := r.last(t); e["connection-log-type"] != "connection-reset" || e["common-name"] != "ann" {
		t.Errorf("%v", e)
	}
	if e := see(peers["bob"]).e; e.Result != cedar.Permit {
		t.Errorf("%+v", e)
	}

	// Without a policy nobody is judged any more.
	r.text = strings.Replace(r.text, "authorization_policy", "# authorization_policy", 1)
	if n, err := r.Reload(t.Context(), r.config(t, r.text)); n != 0 || err != nil {
		t.Errorf("%d sessions were reset: %v", n, err)
	}
	p := peers["bob"]
	p.adopting.Lock()
	defer p.adopting.Unlock()
	if p.again != nil {
		t.Error("a session is judged again without a policy")
	}
}

// TestPolicyContext: each way to sign in has a part of its own.
func TestPolicyContext(t *testing.T) {
	p := &peer{server: &Server{connLog: newConnLog(nil, "cvpn-endpoint-1")}, name: "cvpn-connection-1"}
	p.path.Store(&path{})
	who := auth.Identity{Username: "ann", Groups: []string{"admins"}}
	for _, c := range []struct {
		methods []Authentication
		want    string
	}{
		{[]Authentication{{Mutual: &Mutual{}}}, `{"mutual-authentication":{"common-name":""}}`},
		{[]Authentication{{Mutual: &Mutual{}}, {Directory: &Directory{}}}, `{"active-directory":{"groups":["admins"],"username":"ann"},"mutual-authentication":{"common-name":""}}`},
		{[]Authentication{{Federated: &Federated{}}}, `{"saml":{"NameID":"ann","memberOf":["admins"]}}`},
	} {
		got := policyContext(&Config{Authentication: c.methods}, p.question(who, nil))
		delete(got, "connection")
		if text, err := json.Marshal(got); err != nil || string(text) != c.want {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// TestPolicyFile: what a configuration file can say of policies and devices.
func TestPolicyFile(t *testing.T) {
	base := BuiltinText(DefaultListen(), "udp", "userspace")
	cfg, err := ParseConfig("x.yaml", []byte(base+`
authorization_policy:
  text: |
    permit(principal, action, resource);
  shadow: true
device_posture:
  - {type: jamf, tenant: abc}
  - {type: crowdstrike, tenant: def, key_url: "https://keys.example.com/jwk.json"}
`))
	if err != nil {
		t.Fatal(err)
	}
	if a := cfg.AuthorizationPolicy; a != (AuthorizationPolicy{Text: everybody, Shadow: true, Every: 5 * time.Minute}) {
		t.Errorf("%+v", a)
	}
	if d := cfg.DevicePosture; len(d) != 2 || d[0] != (TrustProvider{Type: "jamf", Tenant: "abc"}) || d[1].KeyURL != "https://keys.example.com/jwk.json" {
		t.Errorf("%+v", d)
	}
	for text, want := range map[string]string{
		"authorization_policy: {shadow: true}":                               "authorization_policy: needs file or text, and not both",
		"authorization_policy: {file: a, text: b}":                           "needs file or text, and not both",
		"authorization_policy: {file: a, every: 0s}":                         "authorization_policy.every: must be a time from 1s to 1h0m0s",
		"authorization_policy: {text: \"permit(principal);\"}":               "authorization_policy.text: line 1",
		"authorization_policy: {text: \" \"}":                                "must be the text of a policy",
		"device_posture: [{type: intune, tenant: a}]":                        `device_posture[0].type: "intune" is not one of crowdstrike, jamf, jumpcloud`,
		"device_posture: [{type: jamf}]":                                     "device_posture[0].tenant: is missing",
		"device_posture: [{type: jumpcloud, tenant: a}]":                     "the public key's address begins with https://",
		"device_posture: [{type: jamf, tenant: a b}]":                        "the tenant has",
		"device_posture: [{type: jamf, tenant: a}, {type: jamf, tenant: b}]": "jamf is listed twice",
	} {
		if _, err := ParseConfig("x.yaml", []byte(base+text+"\n")); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
}
