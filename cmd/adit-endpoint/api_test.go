package main

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// askEC2 sends a request and returns the answer.
func askEC2(t *testing.T, at, action string, params ...string) string {
	t.Helper()
	answer, err := postEC2(at, action, params...)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

func postEC2(at, action string, params ...string) (answer string, err error) {
	form := url.Values{"Action": {action}, "Version": {"2016-11-15"}}
	for i := 0; i+1 < len(params); i += 2 {
		form.Set(params[i], params[i+1])
	}
	req, err := http.NewRequest(http.MethodPost, "http://"+at+"/", strings.NewReader(form.Encode()))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("X-Amz-Date", time.Now().UTC().Format("20060102T150405Z"))
	req.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=AKIAEXAMPLE/20260101/us-east-1/ec2/aws4_request, SignedHeaders=host;x-amz-date, Signature="+strings.Repeat("0", 64))
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return string(b), err
}

// TestAPI: all endpoints are the API's. They are there again after a restart, and a file that takes away what one uses is refused.
func TestAPI(t *testing.T) {
	dir := t.TempDir()
	at := freePort(t)
	file := filepath.Join(dir, "adit.yaml")
	text := fmt.Sprintf(`data: data
networks: [{vpc: vpc-1, cidr: 10.1.0.0/16, subnets: [{id: subnet-1, cidr: 10.1.1.0/24, zone: us-east-1a}, {id: subnet-2, cidr: 10.1.2.0/24, zone: us-east-1b}]}]
api: {listen: "%s"}
`, at)
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(text)
	if code, out, errs := call(t, dir, "check", file); code != 0 || !strings.Contains(out, "1 networks for endpoints of the API") {
		t.Errorf("check: %d %s %s", code, out, errs)
	}
	data := filepath.Join(dir, "data")
	stop := up(t, "--data", data, "--config", file)
	code, out, errs := call(t, data, "arns")
	arn := regexp.MustCompile(`arn:aws:acm:\S+`).FindString(out)
	if code != 0 || arn == "" {
		t.Fatalf("arns: %d %s %s", code, out, errs)
	}
	made := askEC2(t, at, "CreateClientVpnEndpoint", "ClientCidrBlock", "10.64.0.0/22", "ServerCertificateArn", arn, "ConnectionLogOptions.Enabled", "false",
		"Authentication.1.Type", "certificate-authentication", "Authentication.1.MutualAuthentication.ClientRootCertificateChainArn", arn)
	id := regexp.MustCompile(`cvpn-endpoint-[0-9a-f]{17}`).FindString(made)
	if id == "" {
		t.Fatalf("create: %s", made)
	}
	if code, _, errs := call(t, data, "export", "--endpoint", id); code != 1 || !strings.Contains(errs, "one without a target network does not") {
		t.Errorf("export of one that does not run: %d %s", code, errs)
	}
	if got := askEC2(t, at, "AssociateClientVpnTargetNetwork", "ClientVpnEndpointId", id, "SubnetId", "subnet-1"); !strings.Contains(got, "<code>associating</code>") {
		t.Fatalf("associate: %s", got)
	}
	if code, out, errs := call(t, data, "export", "--endpoint", id, "--client", "client"); code != 0 || !strings.Contains(out, "\nremote 127.0.0.1 ") || !strings.Contains(out, "<key>") {
		t.Errorf("export: %d %s %s", code, out, errs)
	}
	if code, _, errs := call(t, data, "export"); code != 2 || !strings.Contains(errs, "--endpoint ID") {
		t.Errorf("export without an endpoint: %d %s", code, errs)
	}

	reload := func(text, want string) {
		t.Helper()
		write(text)
		if code, out, errs := call(t, data, "reload"); want == "" && code != 0 || want != "" && (code != 1 || !strings.Contains(errs, want)) {
			t.Errorf("reload: %d %s %s, want %q", code, out, errs, want)
		}
	}
	lacking := strings.Replace(text, "{id: subnet-1, cidr: 10.1.1.0/24, zone: us-east-1a}, ", "", 1)
	reload(lacking, id+" of the API: InvalidParameterValue: The subnet 'subnet-1' does not exist: networks of "+file)
	reload(strings.Replace(text, "api: {", "api: {region: eu-west-1, ", 1), "api.region cannot change while the endpoint runs")
	reload(text+"metrics: {listen: 127.0.0.1:9180}\n", "metrics cannot change while the endpoint runs")
	reload(text+"listen: 127.0.0.1:1194\nclient_cidr: 10.68.0.0/22\n", "listen cannot change while the endpoint runs")
	reload(strings.Replace(text, "cidr: 10.1.2.0/24", "cidr: 10.1.3.0/24", 1), "")

	if code, _, errs := call(t, data, "pki", "client", "ann"); code != 0 {
		t.Fatal(errs)
	}
	if code, out, errs := call(t, data, "pki", "revoke", "ann"); code != 0 || !strings.Contains(out, "import-client-vpn-client-certificate-revocation-list") {
		t.Errorf("revoke: %d %s %s", code, out, errs)
	}

	stop()
	write(lacking)
	stop = up(t, "--data", data, "--config", file)
	if got := askEC2(t, at, "DescribeClientVpnEndpoints"); !strings.Contains(got, id) || !strings.Contains(got, "subnet-1") {
		t.Errorf("up without what an endpoint uses: %s", got)
	}
	stop()
	write(text)
	up(t, "--data", data, "--config", file)
	if got := askEC2(t, at, "DescribeClientVpnEndpoints"); !strings.Contains(got, id) || !strings.Contains(got, "<code>available</code>") {
		t.Errorf("after a restart: %s", got)
	}
}

// TestAPISecrets: beside TLS. What a reload reads holds from then on, whatever else of the file cannot be followed.
func TestAPISecrets(t *testing.T) {
	dir := t.TempDir()
	for _, args := range [][]string{{"pki", "init"}, {"pki", "server", "api", "--san", "127.0.0.1"}} {
		if code, _, errs := call(t, dir, args...); code != 0 {
			t.Fatal(errs)
		}
	}
	at, file, secret := freePort(t), filepath.Join(dir, "adit.yaml"), filepath.Join(dir, "secret")
	text := fmt.Sprintf(`data: data
listen: %s
client_cidr: 10.64.0.0/22
api: {listen: "%s", keys: [{id: AKIAEXAMPLE, secret_file: secret}], tls: {cert: pki/issued/api.crt, key: pki/private/api.key}}
`, freePort(t), at)
	write := func(file, text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(file, text)
	write(secret, "one\n")
	up(t, "--data", filepath.Join(dir, "data"), "--config", file)

	ca, err := os.ReadFile(filepath.Join(dir, "pki", "ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, DisableKeepAlives: true}}
	ask := func(scheme, secret string) int {
		t.Helper()
		const body = "Action=DescribeVpcs&Version=2016-11-15"
		req, err := http.NewRequest(http.MethodPost, scheme+"://"+at+"/", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		sum := sha256.Sum256([]byte(body))
		if err := v4.NewSigner().SignHTTP(context.Background(), aws.Credentials{AccessKeyID: "AKIAEXAMPLE", SecretAccessKey: secret}, req, hex.EncodeToString(sum[:]), "ec2", "us-east-1", time.Now()); err != nil {
			t.Fatal(err)
		}
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		return res.StatusCode
	}
	if code := ask("http", "one"); code != http.StatusBadRequest {
		t.Errorf("without TLS: %d", code)
	}
	good := "one"
	for _, step := range []struct{ name, file, secret, good, says string }{
		{"as it was", text, "one", "one", ""},
		{"another secret", text, "two", "two", ""},
		{"an empty secret", text, "", "two", "is empty"},
		{"a file that cannot be followed", text + "server_certificate: {cert: none.crt, key: none.key}\n", "three", "three", "the API's access keys follow the new file, but "},
		{"no TLS", regexp.MustCompile(`, tls: {[^}]*}`).ReplaceAllString(text, ""), "four", "three", "api.tls cannot change"},
		{"a certificate that is not there", strings.Replace(text, "api.crt", "other.crt", 1), "four", "three", "certificate of the EC2 API"},
	} {
		write(file, step.file)
		write(secret, step.secret)
		code, _, errs := call(t, filepath.Join(dir, "data"), "reload")
		if (code == 0) != (step.says == "") || !strings.Contains(errs, step.says) {
			t.Errorf("%s: %d %s", step.name, code, errs)
		}
		if code := ask("https", step.good); code != http.StatusOK {
			t.Errorf("%s: the secret %s: %d", step.name, step.good, code)
		}
		if good != step.good {
			if code := ask("https", good); code != http.StatusUnauthorized {
				t.Errorf("%s: the old secret: %d", step.name, code)
			}
		}
		good = step.good
	}
}
