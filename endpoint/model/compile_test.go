package model

import (
	"path/filepath"
	"testing"

	"github.com/adit-vpn/adit/endpoint"
)

// TestConnectionLogOfTheAPI: where the log of an endpoint of the API goes, by where the file's own goes.
func TestConnectionLogOfTheAPI(t *testing.T) {
	of := ConnectionLog{Enabled: true, Group: "vpn", Stream: "s"}
	for _, tt := range []struct {
		name string
		file endpoint.ConnectionLog
		of   ConnectionLog
		want endpoint.ConnectionLog
	}{
		{"off", endpoint.ConnectionLog{Stdout: true}, ConnectionLog{}, endpoint.ConnectionLog{}},
		{"stdout", endpoint.ConnectionLog{Stdout: true}, of, endpoint.ConnectionLog{Stdout: true}},
		{"none", endpoint.ConnectionLog{}, of, endpoint.ConnectionLog{File: filepath.Join("d", "connections.jsonl"), MaxMB: 64, Keep: 5}},
		{"file", endpoint.ConnectionLog{File: "x", MaxMB: 1, Keep: 2}, of, endpoint.ConnectionLog{File: filepath.Join("d", "connections.jsonl"), MaxMB: 1, Keep: 2}},
		{"cloudwatch", endpoint.ConnectionLog{CloudWatch: endpoint.CloudWatch{Group: "own", Region: "eu-west-1", URL: "http://127.0.0.1:1"}}, of,
			endpoint.ConnectionLog{CloudWatch: endpoint.CloudWatch{Group: "vpn", Stream: "s", Region: "eu-west-1", URL: "http://127.0.0.1:1"}}},
	} {
		if got := connectionLog(tt.file, tt.of, "d"); got != tt.want {
			t.Errorf("%s: %+v, want %+v", tt.name, got, tt.want)
		}
	}
}
