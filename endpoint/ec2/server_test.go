package ec2

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/adit-vpn/adit/endpoint/model"
)

const unsigned = "AWS4-HMAC-SHA256 Credential=AKID/20261123/us-east-1/ec2/aws4_request, SignedHeaders=host;x-amz-date, " +
	"Signature=0000000000000000000000000000000000000000000000000000000000000000"

var testTime = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// fake is a Model of which only a little is there; what is not panics.
type fake struct {
	Model
	deleted   []string
	endpoints []model.Endpoint
	err       error
	wait      chan struct{} // when it is there, deleting waits for it
}

func (f *fake) DeleteEndpoint(_ context.Context, call model.Call, id string) (model.Status, error) {
	if f.wait != nil {
		<-f.wait
	}
	if call.DryRun {
		return model.Status{}, dry()
	}
	f.deleted = append(f.deleted, id)
	return model.Status{Code: model.Deleting}, f.err
}

func (f *fake) DeleteAttachment(_ context.Context, _ model.Call, id string) (model.Attachment, error) {
	return model.Attachment{}, &model.Error{Code: model.CodeAttachmentNotFound, Message: id}
}

func (f *fake) Policy(id string) (model.Policy, error) {
	return model.Policy{}, &model.Error{Code: model.CodeEndpointNotFound, Message: id}
}

func (f *fake) Endpoints() []model.Endpoint { return f.endpoints }

func newServer(f *fake, keys map[string]string, hosts ...string) *Server {
	return New(f, Options{Region: "us-east-1", Account: "123456789012", Secrets: Secrets{Keys: keys}, Hosts: hosts, Now: func() time.Time { return testTime }, Log: slog.New(slog.DiscardHandler)})
}

// request is one as the AWS CLI makes it, without a signature that fits.
func request(body string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "http://127.0.0.1:8700/", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	r.Header.Set("Authorization", unsigned)
	r.Header.Set("X-Amz-Date", "20261123T120000Z")
	return r
}

const deletion = "Action=DeleteClientVpnEndpoint&Version=2016-11-15&ClientVpnEndpointId=cvpn-endpoint-1"

func do(s *Server, r *http.Request) (int, string) {
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

// TestStatus: errors have the status that the API references give them.
func TestStatus(t *testing.T) {
	f := &fake{}
	s := newServer(f, nil)
	for code, want := range map[string]int{
		model.CodeBadValue: 400, model.CodeInvalidInput: 400, model.CodeLimitExceeded: 400, model.CodeDryRun: 412,
		model.CodeNoSuchEntity: 404, model.CodeAlreadyExists: 409, model.CodeQuota: 409, model.CodeInternal: 500,
	} {
		f.err = &model.Error{Code: code, Message: "no"}
		if got, text := do(s, request(deletion)); got != want || !strings.Contains(text, code) {
			t.Errorf("%s: %d, want %d\n%s", code, got, want, text)
		}
	}
}

// TestNoWebPageDrivesIt: whatever a browser can be made to send changes nothing.
func TestNoWebPageDrivesIt(t *testing.T) {
	local := &net.TCPAddr{IP: net.IPv4(192, 0, 2, 7), Port: 8700}
	for _, c := range []struct {
		name   string
		change func(*http.Request)
		code   int
	}{
		{"GET", func(r *http.Request) { r.Method = http.MethodGet; r.URL.RawQuery = deletion }, http.StatusMethodNotAllowed},
		{"HEAD", func(r *http.Request) { r.Method = http.MethodHead }, http.StatusMethodNotAllowed},
		{"the question before a request (CORS)", func(r *http.Request) { r.Method = http.MethodOptions }, http.StatusMethodNotAllowed},
		{"PUT", func(r *http.Request) { r.Method = http.MethodPut }, http.StatusMethodNotAllowed},
		{"another host", func(r *http.Request) { r.Host = "evil.example" }, http.StatusMisdirectedRequest},
		{"another host that looks like ours", func(r *http.Request) { r.Host = "127.0.0.1.evil.example:8700" }, http.StatusMisdirectedRequest},
		{"a name below localhost's", func(r *http.Request) { r.Host = "evil.localhost" }, http.StatusMisdirectedRequest},
		{"another address", func(r *http.Request) { r.Host = "192.0.2.8:8700" }, http.StatusMisdirectedRequest},
		{"no host", func(r *http.Request) { r.Host = "" }, http.StatusMisdirectedRequest},
		{"Origin", func(r *http.Request) { r.Header.Set("Origin", "http://127.0.0.1:8700") }, http.StatusForbidden},
		{"an empty Origin", func(r *http.Request) { r.Header.Set("Origin", "") }, http.StatusForbidden},
		{"Origin null", func(r *http.Request) { r.Header.Set("Origin", "null") }, http.StatusForbidden},
		{"Sec-Fetch-Site", func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "same-origin") }, http.StatusForbidden},
		{"Sec-Fetch-Mode", func(r *http.Request) { r.Header.Set("sec-fetch-mode", "no-cors") }, http.StatusForbidden},
		{"another path", func(r *http.Request) { r.URL.Path = "/x" }, http.StatusNotFound},
		{"parameters in the address", func(r *http.Request) { r.URL.RawQuery = deletion }, http.StatusNotFound},
		{"a large body", func(r *http.Request) { r.ContentLength = maxBody + 1 }, http.StatusRequestEntityTooLarge},
		{"a large body that does not say so", func(r *http.Request) {
			r.ContentLength = -1
			r.Body = io.NopCloser(strings.NewReader(deletion + "&Description=" + strings.Repeat("x", maxBody)))
		}, http.StatusRequestEntityTooLarge},
		{"a plain form", func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") }, http.StatusUnsupportedMediaType},
		{"a form with files", func(r *http.Request) { r.Header.Set("Content-Type", "multipart/form-data; boundary=x") }, http.StatusUnsupportedMediaType},
		{"no type", func(r *http.Request) { r.Header.Del("Content-Type") }, http.StatusUnsupportedMediaType},
		{"a form without a signature", func(r *http.Request) { r.Header.Del("Authorization") }, http.StatusForbidden},
		{"a password", func(r *http.Request) { r.SetBasicAuth("a", "b") }, http.StatusForbidden},
		{"another service", func(r *http.Request) {
			r.Header.Set("Authorization", strings.Replace(unsigned, "/ec2/", "/s3/", 1))
		}, http.StatusForbidden},
		{"an end in the middle of the body", func(r *http.Request) {
			r.Body = io.NopCloser(io.MultiReader(strings.NewReader(deletion), broken{}))
		}, http.StatusBadRequest},
	} {
		f := &fake{}
		r := request(deletion)
		r = r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, local))
		c.change(r)
		if code, body := do(newServer(f, nil), r); code != c.code || len(f.deleted) > 0 || !strings.Contains(body, "<Response><Errors><Error><Code>") {
			t.Errorf("%s: %d %s, deleted %v; want %d", c.name, code, body, f.deleted, c.code)
		}
	}
	for _, host := range []string{"127.0.0.1:8700", "127.1.2.3", "[::1]:8700", "::1", "localhost:8700", "LOCALHOST", "192.0.2.7:8700", "192.0.2.7:1", "vpn.example.com:8700", "[2001:db8::1]:9"} {
		f := &fake{}
		r := request(deletion)
		r = r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, local))
		r.Host = host
		if code, body := do(newServer(f, nil, "VPN.example.com", "2001:db8::1"), r); code != http.StatusOK || len(f.deleted) != 1 {
			t.Errorf("%s: %d %s", host, code, body)
		}
	}
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errors.New("the connection broke") }

func TestKeys(t *testing.T) {
	keys := map[string]string{"AKID": "secret"}
	for _, c := range []struct {
		name, key, secret, region, service, stamp string
		code                                      int
		says                                      string
	}{
		{"the right one", "AKID", "secret", "us-east-1", "ec2", "20261123T120000Z", 200, "<code>deleting</code>"},
		{"another key", "OTHER", "secret", "us-east-1", "ec2", "20261123T120000Z", 401, "<Code>AuthFailure</Code>"},
		{"another secret", "AKID", "other", "us-east-1", "ec2", "20261123T120000Z", 401, "<Code>AuthFailure</Code>"},
		{"another region", "AKID", "secret", "eu-west-1", "ec2", "20261123T120000Z", 401, "valid region"},
		{"yesterday", "AKID", "secret", "us-east-1", "ec2", "20261122T120000Z", 400, "<Code>RequestExpired</Code>"},
		{"another service", "AKID", "secret", "us-east-1", "s3", "20261123T120000Z", 403, "<Code>SignatureDoesNotMatch</Code>"},
		{"STS with another key", "OTHER", "secret", "us-east-1", "sts", "20261123T120000Z", 403, "<Code>InvalidClientTokenId</Code>"},
		{"STS with another secret", "AKID", "other", "us-east-1", "sts", "20261123T120000Z", 403, "<Code>SignatureDoesNotMatch</Code>"},
	} {
		f := &fake{}
		r := request(deletion)
		r.Header.Set("X-Amz-Date", c.stamp)
		a := authorization{key: c.key, day: c.stamp[:8], region: c.region, service: c.service, headers: []string{"host", "x-amz-date"}}
		r.Header.Set("Authorization", signatureMethod+" Credential="+strings.Join([]string{c.key, a.day, c.region, c.service, scopeEnd}, "/")+
			", SignedHeaders=host;x-amz-date, Signature="+a.signed(c.secret, r, []byte(deletion)))
		if code, body := do(newServer(f, keys), r); code != c.code || !strings.Contains(body, c.says) || (len(f.deleted) == 1) != (c.code == 200) {
			t.Errorf("%s: %d %s", c.name, code, body)
		}
	}
	// Of those whom nobody knows not even the body is read.
	stranger := request(deletion)
	stranger.Header.Set("Authorization", strings.Replace(unsigned, "AKID", "STRANGER", 1))
	stranger.Body = io.NopCloser(broken{})
	if code, body := do(newServer(&fake{}, keys), stranger); code != 401 || !strings.Contains(body, "<Code>AuthFailure</Code>") {
		t.Errorf("a stranger: %d %s", code, body)
	}
	f := &fake{}
	if code, body := do(newServer(f, keys), request(deletion)); code != 401 || len(f.deleted) > 0 {
		t.Errorf("a signature that fits nothing: %d %s", code, body)
	}
}

// TestNewKeys: a key that was taken away is good for nothing from then on, another one is.
func TestNewKeys(t *testing.T) {
	signed := func(key, secret string) *http.Request {
		r := request(deletion)
		a := authorization{key: key, day: "20261123", region: "us-east-1", service: "ec2", headers: []string{"host", "x-amz-date"}}
		r.Header.Set("Authorization", strings.NewReplacer("AKID", key, strings.Repeat("0", 64), a.signed(secret, r, []byte(deletion))).Replace(unsigned))
		return r
	}
	s := newServer(&fake{}, map[string]string{"AKID": "secret", "GONE": "secret"})
	for _, step := range []struct {
		keys map[string]string
		good []string
		bad  []string
	}{
		{map[string]string{"AKID": "secret", "GONE": "secret"}, []string{"AKID:secret", "GONE:secret"}, []string{"AKID:other"}},
		{map[string]string{"AKID": "other"}, []string{"AKID:other"}, []string{"AKID:secret", "GONE:secret"}},
	} {
		s.SetSecrets(Secrets{Keys: step.keys})
		for want, list := range map[int][]string{200: step.good, 401: step.bad} {
			for _, k := range list {
				id, secret, _ := strings.Cut(k, ":")
				if code, body := do(s, signed(id, secret)); code != want {
					t.Errorf("%s: %d %s, want %d", k, code, body, want)
				}
			}
		}
	}
}

// TestNobodyBlocks: requests that do not arrive whole, more than are answered at once, keep nobody else waiting.
func TestNobodyBlocks(t *testing.T) {
	s := newServer(&fake{}, nil)
	var slow sync.WaitGroup
	var ends []*io.PipeWriter
	for range maxAtOnce {
		r := request(deletion)
		body, end := io.Pipe()
		r.Body, ends = body, append(ends, end)
		slow.Go(func() { do(s, r) })
		if _, err := end.Write([]byte("Action=")); err != nil { // it is being read
			t.Fatal(err)
		}
	}
	if code, body := do(s, request(deletion)); code != 200 {
		t.Errorf("%d %s", code, body)
	}
	for _, end := range ends {
		end.CloseWithError(errors.New("gone"))
	}
	slow.Wait()
}

// TestStrangersConnections: who is refused for what he is has no connection any more, and others no more than so many.
func TestStrangersConnections(t *testing.T) {
	stranger := request(deletion)
	stranger.Header.Del("Authorization")
	w := httptest.NewRecorder()
	if newServer(&fake{}, nil).ServeHTTP(w, stranger); w.Code != 403 || w.Header().Get("Connection") != "close" {
		t.Errorf("%d %v", w.Code, w.Header())
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	counted := &counting{Listener: l}
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- newServer(&fake{}, nil).Serve(ctx, counted) }()
	const all = maxConns + 20
	var callers []net.Conn
	for range all {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		callers = append(callers, c)
	}
	for counted.accepted.Load() < maxConns {
		time.Sleep(time.Millisecond)
	}
	for _, c := range callers {
		c.Close()
	}
	for counted.accepted.Load() < all {
		time.Sleep(time.Millisecond)
	}
	stop()
	if err := <-served; err != nil {
		t.Error(err)
	}
	if n := counted.most.Load(); n > maxConns {
		t.Errorf("%d connections at once", n)
	}
}

// counting counts connections: all, and those at once.
type counting struct {
	net.Listener
	accepted, open, most atomic.Int32
}

func (c *counting) Accept() (net.Conn, error) {
	conn, err := c.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c.most.Store(max(c.most.Load(), c.open.Add(1))) // only one accepts
	c.accepted.Add(1)
	return &countedConn{Conn: conn, of: c}, nil
}

type countedConn struct {
	net.Conn
	of   *counting
	once sync.Once
}

func (c *countedConn) Close() error {
	err := c.Conn.Close()
	c.once.Do(func() { c.of.open.Add(-1) })
	return err
}

func TestAnswers(t *testing.T) {
	for _, c := range []struct {
		name, body string
		code       int
		says       string
	}{
		{"a change", deletion, 200, `<DeleteClientVpnEndpointResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><requestId>`},
		{"a dry run", deletion + "&DryRun=true", 412, "<Code>DryRunOperation</Code>"},
		{"a dry run of a question", "Action=DescribeClientVpnEndpoints&Version=2016-11-15&DryRun=true", 412, "<Code>DryRunOperation</Code>"},
		{"an odd dry run", deletion + "&DryRun=perhaps", 400, "<Code>InvalidParameterValue</Code>"},
		{"no action", "Version=2016-11-15", 400, "<Code>InvalidAction</Code>"},
		{"another action", "Action=RunInstances&Version=2016-11-15", 400, "The action &#39;RunInstances&#39; is not valid for this web service."},
		{"another version", "Action=DeleteClientVpnEndpoint&Version=2013-01-01&ClientVpnEndpointId=x", 400, "<Code>NoSuchVersion</Code>"},
		{"a parameter too many", deletion + "&Force=true", 400, "<Code>UnknownParameter</Code><Message>The parameter Force is not recognized</Message>"},
		{"a parameter that is missing", "Action=DeleteClientVpnEndpoint&Version=2016-11-15", 400, "<Code>MissingParameter</Code>"},
		{"markup", "Action=%3Cscript%3E&Version=2016-11-15", 400, "&lt;script&gt;"},
		{"no form", "%zz", 400, "<Code>MalformedQueryString</Code>"},
		{"an empty list", "Action=DescribeClientVpnEndpoints&Version=2016-11-15", 200, "<clientVpnEndpoint></clientVpnEndpoint>"},
		{"an id that is not", "Action=DescribeClientVpnEndpoints&Version=2016-11-15&ClientVpnEndpointId.1=x", 400, "<Code>InvalidClientVpnEndpointId.NotFound</Code>"},
		{"transit gateways", "Action=DeleteTransitGatewayClientVpnAttachment&Version=2016-11-15&TransitGatewayAttachmentId=tgw-attach-1", 400, "<Code>InvalidTransitGatewayAttachmentID.NotFound</Code>"},
		{"policies", "Action=GetClientVpnEndpointAuthorizationPolicy&Version=2016-11-15&ClientVpnEndpointId=x", 400, "<Code>InvalidClientVpnEndpointId.NotFound</Code>"},
	} {
		code, body := do(newServer(&fake{}, nil), request(c.body))
		if code != c.code || !strings.Contains(body, c.says) || !strings.HasPrefix(body, "<?xml") {
			t.Errorf("%s: %d %s", c.name, code, body)
		}
	}

	// What went wrong inside is for the log, not for callers.
	code, body := do(newServer(&fake{err: errors.New("/secret/path: no space left")}, nil), request(deletion))
	if code != 500 || strings.Contains(body, "secret") || !strings.Contains(body, "<Code>InternalError</Code>") {
		t.Errorf("an error of ours: %d %s", code, body)
	}
	// A Model that panics (this one has no rules) costs that request alone.
	code, body = do(newServer(&fake{}, nil), request("Action=DescribeClientVpnRoutes&Version=2016-11-15&ClientVpnEndpointId=x"))
	if code != 500 || !strings.Contains(body, "<Code>InternalError</Code>") {
		t.Errorf("a panic: %d %s", code, body)
	}
}

func TestCallerIdentity(t *testing.T) {
	ask := func(body string) (int, string) {
		r := request(body)
		r.Header.Set("Authorization", strings.Replace(unsigned, "/ec2/", "/sts/", 1))
		return do(newServer(&fake{}, nil), r)
	}
	if code, body := ask("Action=GetCallerIdentity&Version=2011-06-15"); code != 200 ||
		!strings.Contains(body, `<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult><Arn>arn:aws:iam::123456789012:root</Arn><UserId>123456789012</UserId><Account>123456789012</Account></GetCallerIdentityResult><ResponseMetadata><RequestId>`) {
		t.Errorf("%d %s", code, body)
	}
	if code, body := ask(deletion); code != 400 || !strings.Contains(body, `<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type><Code>InvalidAction</Code>`) {
		t.Errorf("an action of EC2: %d %s", code, body)
	}
}

// TestServe: answers under way are finished when the server stops.
func TestServe(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &fake{wait: make(chan struct{})}
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- newServer(f, nil).Serve(ctx, l) }()

	answered := make(chan int, 1)
	go func() {
		r, _ := http.NewRequest(http.MethodPost, "http://"+l.Addr().String()+"/", strings.NewReader(deletion))
		r.Header = request("").Header
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			answered <- 0
			return
		}
		response.Body.Close()
		answered <- response.StatusCode
	}()
	f.wait <- struct{}{} // the request is there
	stop()
	if code := <-answered; code != 200 {
		t.Errorf("the answer under way: %d", code)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
	if _, err := net.Dial("tcp", l.Addr().String()); err == nil {
		t.Error("it still listens")
	}
}

func FuzzRequest(f *testing.F) {
	f.Add(deletion)
	f.Add("Action=DescribeClientVpnEndpoints&Version=2016-11-15&Filter.1.Name=endpoint-id&Filter.1.Value.1=cvpn*&MaxResults=5&NextToken=abc")
	f.Add("Action=CreateClientVpnEndpoint&Version=2016-11-15&Authentication.1.Type=x&TagSpecification.1.Tag.1.Key=k")
	f.Fuzz(func(t *testing.T, body string) {
		form, err := url.ParseQuery(body)
		if err != nil || len(body) > 1<<16 {
			return
		}
		if action := form.Get("Action"); action != "DescribeClientVpnEndpoints" && action != "DeleteClientVpnEndpoint" && operations()[action] != nil {
			return // the fake has no more
		}
		code, answer := do(newServer(&fake{endpoints: endpoints(7)}, nil), request(body))
		if code >= 500 || !strings.HasPrefix(answer, "<?xml") {
			t.Fatalf("%d %s", code, answer)
		}
	})
}

func TestACMProtocol(t *testing.T) {
	ask := func(target, kind, body string) (int, string) {
		r := request(body)
		r.Header.Set("Authorization", strings.Replace(unsigned, "/ec2/", "/acm/", 1))
		r.Header.Set("Content-Type", kind)
		r.Header.Set("X-Amz-Target", target)
		return do(newServer(&fake{}, nil), r)
	}
	for _, c := range []struct {
		name, target, kind, body string
		code                     int
		says                     string
	}{
		{"a form", "CertificateManager.ListCertificates", formType, "{}", 415, `"__type":"InvalidRequest"`},
		{"another operation", "CertificateManager.RequestCertificate", jsonType, "{}", 400, `"__type":"UnknownOperationException"`},
		{"no operation", "", jsonType, "{}", 400, `"__type":"UnknownOperationException"`},
		{"no JSON", "CertificateManager.ImportCertificate", jsonType, "Action=x", 400, `"__type":"SerializationException"`},
		{"another type", "CertificateManager.DeleteCertificate", jsonType, `{"CertificateArn":7}`, 400, `"__type":"SerializationException"`},
		{"no base64", "CertificateManager.ImportCertificate", jsonType, `{"Certificate":"!"}`, 400, `"__type":"SerializationException"`},
	} {
		if code, body := ask(c.target, c.kind, c.body); code != c.code || !strings.Contains(body, c.says) {
			t.Errorf("%s: %d %s", c.name, code, body)
		}
	}
}
