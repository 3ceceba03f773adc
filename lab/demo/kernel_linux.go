package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/adit-vpn/adit/lab"
)

// The second half's network. The laptop and the endpoint meet on 198.51.100.0/24;
// the office is behind the endpoint and knows no way to the tunnel's addresses.
//
//	laptop .2 --- .1 endpoint 10.1.0.5 --- 10.1.0.10 office
const config = `data: %s
listen: 198.51.100.1:1194
network: kernel
client_cidr: 10.64.0.0/22
split_tunnel: true
authentication:
  - mutual: {}
networks: [{vpc: vpc-office, cidr: 10.1.0.0/16, subnets: [{id: subnet-office, cidr: 10.1.0.0/24, zone: a, address: 10.1.0.5, interface: office0}]}]
associations: [{subnet: subnet-office}]
authorization_rules: [{cidr: 10.1.0.0/16, all: true}]
`

// kernel runs the service and the endpoint with TUN devices in three namespaces.
func kernel(ctx context.Context, bin, dir string) (err error) {
	if os.Geteuid() != 0 {
		fmt.Println("\n(as root, the second half would follow: the service with a kernel device, in network namespaces)")
		return nil
	}
	title("With kernel devices: the service, routes, and a network behind the endpoint, in namespaces")
	n, err := lab.NewNet(dir)
	if err != nil {
		return err
	}
	defer n.Close()
	var nodes [3]*lab.Node
	for i, name := range []string{"laptop", "gateway", "office"} {
		if nodes[i], err = n.Node(name); err != nil {
			return err
		}
	}
	laptop, gateway, office := nodes[0], nodes[1], nodes[2]
	if err := errors.Join(
		n.Wire(laptop, "eth0", []string{"198.51.100.2/24"}, gateway, "eth0", []string{"198.51.100.1/24"}),
		n.Wire(gateway, "office0", []string{"10.1.0.5/24"}, office, "eth0", []string{"10.1.0.10/24"}),
		laptop.Route("", "198.51.100.1"),
	); err != nil {
		return err
	}
	stop, err := serveOffice(office)
	if err != nil {
		return err
	}
	defer stop()

	adit, aditd, endpoint := filepath.Join(bin, "adit"), filepath.Join(bin, "aditd"), filepath.Join(bin, "adit-endpoint")
	conf, data := filepath.Join(gateway.Dir, "endpoint.yaml"), filepath.Join(gateway.Dir, "data")
	if err := os.WriteFile(conf, fmt.Appendf(nil, config, data), 0o600); err != nil {
		return err
	}
	server, err := launch(gateway, endpoint, "up", "--config", conf)
	if err != nil {
		return err
	}
	if err := server.WaitFor("profile: ", 20*time.Second); err != nil {
		return err
	}
	service, err := launch(laptop, aditd, "--state", filepath.Join(laptop.Dir, "state"))
	if err != nil {
		return err
	}
	before, err := laptop.Routes()
	if err != nil {
		return err
	}
	profile := filepath.Join(data, "client.ovpn")
	if err := untilServed(ctx, laptop, adit); err != nil {
		return err
	}
	for _, args := range [][]string{
		{adit, "import", profile, "--name", "office"}, {adit, "connect", "office"},
	} {
		if err := in(ctx, laptop, args...); err != nil {
			return err
		}
	}
	fmt.Println("laptop$ curl http://10.1.0.10/")
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(_ context.Context, network, addr string) (net.Conn, error) {
			return laptop.Dial(network, addr, 5*time.Second)
		},
	}}
	page, err := fetch(ctx, client, "http://10.1.0.10/")
	if err != nil {
		return err
	}
	fmt.Fprintln(&output{}, page)
	for _, args := range [][]string{
		{adit, "status"}, {adit, "routes"}, {adit, "explain", "10.1.0.10"}, {adit, "explain", "192.0.2.1"}, {adit, "disconnect", "office"},
	} {
		if err := in(ctx, laptop, args...); err != nil {
			return err
		}
	}
	after, err := laptop.Routes()
	if err != nil {
		return err
	}
	if !slices.Equal(before, after) {
		return fmt.Errorf("the laptop's routes are not as before\nbefore: %q\nafter:  %q", before, after)
	}
	fmt.Println("the laptop's routing table is exactly what it was")
	return errors.Join(service.Stop(syscall.SIGTERM, 10*time.Second), server.Stop(syscall.SIGTERM, 10*time.Second))
}

// launch starts a program in a node and says so.
func launch(n *lab.Node, argv ...string) (*lab.Proc, error) {
	fmt.Println(n.Name + shown(argv))
	return n.Start(argv...)
}

// in runs a command in a node and prints what it says.
func in(ctx context.Context, n *lab.Node, argv ...string) error {
	fmt.Println(n.Name + shown(argv))
	out, err := n.Run(ctx, argv...)
	if err == nil && out != "" {
		fmt.Fprint(&output{}, out)
	}
	return err
}

// untilServed waits for the service's socket.
func untilServed(ctx context.Context, n *lab.Node, adit string) error {
	for {
		_, err := n.Run(ctx, adit, "status")
		if err == nil || ctx.Err() != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// serveOffice is a page in the office that says who asks.
func serveOffice(office *lab.Node) (stop func(), err error) {
	l, err := office.Listen("tcp", "10.1.0.10:80")
	if err != nil {
		return nil, err
	}
	srv := &http.Server{ReadHeaderTimeout: 5 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, _ := net.SplitHostPort(r.RemoteAddr)
		fmt.Fprintf(w, "the office: you come from %s, the association's address\n", host)
	})}
	done := make(chan struct{})
	go func() { defer close(done); srv.Serve(l) }()
	return func() { srv.Close(); <-done }, nil
}
