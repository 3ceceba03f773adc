package main

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// killedFile, in the environment, is the configuration of the process that TestKill kills.
const killedFile = "ADIT_ENDPOINT_KILLED_FILE"

// TestKilledProcess is the process that TestKill kills.
func TestKilledProcess(t *testing.T) {
	file := os.Getenv(killedFile)
	if file == "" {
		return // it is the child of TestKill only
	}
	if code := run(context.Background(), []string{"up", "--config", file}, os.Stdout, os.Stderr); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// ec2Step sends one request. An error is one of the connection's, not the API's.
type ec2Step func(c ec2Client) (answer string, err error)

// ec2Script goes from nothing to nothing. Each step changes what state shows.
func ec2Script(arn string) []ec2Step {
	on := func(name, action string, params ...string) ec2Step {
		return func(c ec2Client) (string, error) {
			id, err := c.id(name)
			if err != nil {
				return "", err
			}
			return postEC2(c.at, action, append([]string{"ClientVpnEndpointId", id}, params...)...)
		}
	}
	create := func(name, cidr string) ec2Step {
		return func(c ec2Client) (string, error) {
			return postEC2(c.at, "CreateClientVpnEndpoint", "Description", name, "ClientCidrBlock", cidr, "ServerCertificateArn", arn, "ConnectionLogOptions.Enabled", "false",
				"Authentication.1.Type", "certificate-authentication", "Authentication.1.MutualAuthentication.ClientRootCertificateChainArn", arn)
		}
	}
	apart := func(name string) ec2Step {
		return func(c ec2Client) (string, error) {
			answer, err := on(name, "DescribeClientVpnTargetNetworks")(c)
			if err != nil {
				return "", err
			}
			m := regexp.MustCompile(`<associationId>([^<]*)<`).FindStringSubmatch(answer)
			if m == nil {
				return answer, nil // which the caller sees
			}
			return on(name, "DisassociateClientVpnTargetNetwork", "AssociationId", m[1])(c)
		}
	}
	return []ec2Step{
		create("a", "10.64.0.0/22"), on("a", "AssociateClientVpnTargetNetwork", "SubnetId", "subnet-1"),
		on("a", "AuthorizeClientVpnIngress", "TargetNetworkCidr", "10.1.0.0/16", "AuthorizeAllGroups", "true"),
		create("b", "10.68.0.0/22"), on("b", "AssociateClientVpnTargetNetwork", "SubnetId", "subnet-2"),
		on("a", "CreateClientVpnRoute", "DestinationCidrBlock", "0.0.0.0/0", "TargetVpcSubnetId", "subnet-1"),
		on("b", "AuthorizeClientVpnIngress", "TargetNetworkCidr", "10.1.0.0/24", "AccessGroupId", "dev"),
		on("a", "ModifyClientVpnEndpoint", "SplitTunnel", "true"),
		on("a", "DeleteClientVpnRoute", "DestinationCidrBlock", "0.0.0.0/0", "TargetVpcSubnetId", "subnet-1"),
		on("b", "RevokeClientVpnIngress", "TargetNetworkCidr", "10.1.0.0/24", "AccessGroupId", "dev"),
		apart("a"), on("a", "DeleteClientVpnEndpoint"), apart("b"), on("b", "DeleteClientVpnEndpoint"),
	}
}

// ec2Client asks the API at an address.
type ec2Client struct {
	t  *testing.T
	at string
}

// id is that of the endpoint with a description, or a name that no endpoint has.
func (c ec2Client) id(description string) (string, error) {
	all, err := postEC2(c.at, "DescribeClientVpnEndpoints")
	for _, m := range regexp.MustCompile(`<clientVpnEndpointId>([^<]*)</clientVpnEndpointId><description>([^<]*)<`).FindAllStringSubmatch(all, -1) {
		if m[2] == description {
			return m[1], err
		}
	}
	return "cvpn-endpoint-" + description, err
}

// state is what the API shows, without ids and times; and what answers.
func (c ec2Client) state() string {
	c.t.Helper()
	var b strings.Builder
	shown := regexp.MustCompile(`<(code|message|splitTunnel|clientCidrBlock|networkId|destinationCidr|groupId|accessAll|origin|targetSubnet)>([^<]*)<`)
	for _, name := range []string{"a", "b"} {
		id, err := c.id(name)
		if err != nil {
			c.t.Fatal(err)
		}
		if id == "cvpn-endpoint-"+name {
			continue
		}
		fmt.Fprintf(&b, "%s:", name)
		for _, ask := range [][2]string{{"Endpoints", "ClientVpnEndpointId.1"}, {"TargetNetworks", "ClientVpnEndpointId"}, {"AuthorizationRules", "ClientVpnEndpointId"}, {"Routes", "ClientVpnEndpointId"}} {
			for _, m := range shown.FindAllStringSubmatch(askEC2(c.t, c.at, "DescribeClientVpn"+ask[0], ask[1], id), -1) {
				fmt.Fprintf(&b, " %s=%s", m[1], m[2])
			}
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// TestKill kills the whole program while requests change its endpoints, again and again at random points (8 times, or
// ADIT_KILLS): what was answered holds after the next start, and of the request that was under way all or nothing.
func TestKill(t *testing.T) {
	kills := 8
	if text := os.Getenv("ADIT_KILLS"); text != "" {
		var err error
		if kills, err = strconv.Atoi(text); err != nil || kills < 1 {
			t.Fatalf("ADIT_KILLS is %q", text)
		}
	}
	dir := t.TempDir()
	at, file := freePort(t), filepath.Join(dir, "adit.yaml")
	if err := os.WriteFile(file, fmt.Appendf(nil, `data: data
networks: [{vpc: vpc-1, cidr: 10.1.0.0/16, subnets: [{id: subnet-1, cidr: 10.1.1.0/24, zone: us-east-1a}, {id: subnet-2, cidr: 10.1.2.0/24, zone: us-east-1b}]}]
api: {listen: "%s"}
`, at), 0o600); err != nil {
		t.Fatal(err)
	}
	c := ec2Client{t, at}
	start := func() *exec.Cmd {
		t.Helper()
		cmd := exec.Command(os.Args[0], "-test.run=^TestKilledProcess$")
		cmd.Env = append(os.Environ(), killedFile+"="+file)
		cmd.Dir = dir
		out, err := cmd.StdoutPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			if strings.Contains(lines.Text(), at) {
				go func() {
					for lines.Scan() { // so that it never waits for a reader
					}
				}()
				return cmd
			}
		}
		t.Fatal("the endpoint does not start")
		return nil
	}
	cmd := start()
	_, out, errs := call(t, filepath.Join(dir, "data"), "arns")
	arn := regexp.MustCompile(`arn:aws:acm:\S+`).FindString(out)
	if arn == "" {
		t.Fatalf("arns: %s%s", out, errs)
	}
	script := ec2Script(arn)
	want := []string{c.state()}
	for i, step := range script { // what it must be after each step, while nobody kills
		if answer, err := step(c); err != nil || strings.Contains(answer, "<Errors>") {
			t.Fatalf("step %d: %v %s", i, err, answer)
		}
		if want = append(want, c.state()); want[i] == want[i+1] {
			t.Fatalf("step %d changes nothing in sight: %s", i, want[i])
		}
	}
	if want[0] != "" || want[len(script)] != "" {
		t.Fatalf("the script begins with %q and ends with %q", want[0], want[len(script)])
	}

	next, lost, made := 0, 0, 0
	for kill := range kills {
		killed := make(chan struct{})
		wait := time.Duration(rand.Int64N(int64(200 * time.Millisecond)))
		go func() {
			defer close(killed)
			time.Sleep(wait)
			cmd.Process.Kill()
			cmd.Wait()
		}()
		acknowledged := next - 1
		for {
			answer, err := script[(acknowledged+1)%len(script)](c)
			if err != nil {
				break // it is dead
			}
			if strings.Contains(answer, "<Errors>") {
				t.Fatalf("step %d: %s", acknowledged+1, answer)
			}
			acknowledged++
		}
		<-killed
		http.DefaultClient.CloseIdleConnections()
		cmd = start()
		switch got, done := c.state(), acknowledged+1; got {
		case want[done%len(script)]:
			next, lost = done, lost+1
		case want[done%len(script)+1]:
			next, made = done+1, made+1
		default:
			t.Fatalf("kill %d: step %d was answered, and the state is\n%snot\n%snor\n%s", kill, acknowledged, got, want[done%len(script)], want[done%len(script)+1])
		}
	}
	t.Logf("%d requests in %d lives; the one under way was lost %d times, and made %d times", next, kills, lost, made)
	if next == 0 {
		t.Error("no request was ever answered")
	}
}
