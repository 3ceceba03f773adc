package api

import (
	"bytes"
	"context"
	"encoding/json"
	"net/url"
)

// permission is who may use a route at all. What a caller may see or touch behind it
// is the Backend's to decide.
type permission int

const (
	member permission = iota // root or group adit; the zero value is the narrow one
	person                   // every account that is a person's, and those
	anyone                   // every local user
)

func (p permission) allows(c Caller) bool {
	switch p {
	case anyone:
		return true
	case person:
		return c.Person || c.Member || c.Root
	case member:
		return c.Member || c.Root
	default:
		return false
	}
}

// asUser is the query by which root gives up its sight of other users' tunnels for a request.
const asUser = "as_user"

// route is one row of the table: exactly one of serve and stream is set.
type route struct {
	method string
	path   string
	may    permission
	body   int64  // the largest request body in bytes; 0 = the body is not read
	action string // completes "you may not …"
	serve  func(*call) (any, error)
	stream func(c *call, send func(any) error) error
}

// call is one request, as far as handlers need it.
type call struct {
	ctx    context.Context
	caller Caller
	query  url.Values
	body   []byte
}

// The requests that have no type in backend.go.
type (
	nameRequest struct {
		Name string `json:"name"`
	}
	renameRequest struct {
		Name string `json:"name"`
		To   string `json:"to"`
	}
	setRequest struct {
		Name    string   `json:"name"`
		Changes []string `json:"changes"`
	}
)

// viewRoutes are the rows that only look.
func viewRoutes(v Viewer) []route {
	return []route{
		{"GET", "/v1/status", anyone, 0, "see the status", func(c *call) (any, error) {
			return v.Status(c.caller), nil
		}, nil},
		{"GET", "/v1/watch", anyone, 0, "watch the status", nil, func(c *call, send func(any) error) error {
			return v.Watch(c.ctx, c.caller, func(s Status) error { return send(s) })
		}},
		{"GET", "/v1/explain", anyone, 0, "ask for the way", func(c *call) (any, error) {
			return v.Explain(c.ctx, c.caller, c.query.Get("destination"))
		}, nil},
		{"GET", "/v1/version", anyone, 0, "see the version", func(*call) (any, error) {
			return v.Version(), nil
		}, nil},
	}
}

// backendRoutes are the other rows.
func backendRoutes(b Backend) []route {
	return []route{
		{"GET", "/v1/profiles", anyone, 0, "list profiles", func(c *call) (any, error) {
			profiles, err := b.Profiles(c.caller)
			return list(profiles), err
		}, nil},
		{"GET", "/v1/profile", anyone, 0, "see profiles", func(c *call) (any, error) {
			return b.Show(c.caller, c.query.Get("name"))
		}, nil},
		{"GET", "/v1/export", member, 0, "export profiles", func(c *call) (any, error) {
			return b.Export(c.caller, c.query.Get("name"))
		}, nil},
		{"GET", "/v1/settings", anyone, 0, "see settings", func(c *call) (any, error) {
			return b.Settings(c.caller, c.query.Get("name"))
		}, nil},
		{"GET", "/v1/logs", anyone, 0, "read the log", nil, func(c *call, send func(any) error) error {
			follow := c.query.Get("follow") == "true"
			return b.Logs(c.ctx, c.caller, follow, func(l LogLine) error { return send(l) })
		}},
		{"POST", "/v1/import", member, importBody, "import profiles", func(c *call) (any, error) {
			req, err := decode[ImportRequest](c.body)
			if err != nil {
				return nil, err
			}
			return b.Import(c.caller, req)
		}, nil},
		{"POST", "/v1/rename", member, smallBody, "rename profiles", func(c *call) (any, error) {
			req, err := decode[renameRequest](c.body)
			if err != nil {
				return nil, err
			}
			return nil, b.Rename(c.caller, req.Name, req.To)
		}, nil},
		{"POST", "/v1/remove", member, smallBody, "remove profiles", func(c *call) (any, error) {
			req, err := decode[nameRequest](c.body)
			if err != nil {
				return nil, err
			}
			return nil, b.Remove(c.caller, req.Name)
		}, nil},
		{"POST", "/v1/set", person, smallBody, "change settings", func(c *call) (any, error) {
			req, err := decode[setRequest](c.body)
			if err != nil {
				return nil, err
			}
			return b.Set(c.caller, req.Name, req.Changes)
		}, nil},
		{"POST", "/v1/connect", person, smallBody, "connect tunnels", func(c *call) (any, error) {
			req, err := decode[ConnectRequest](c.body)
			if err != nil {
				return nil, err
			}
			if req.Timeout < 0 {
				return nil, NewProblem(CodeRequestInvalid, map[string]string{"detail": "the timeout is negative"})
			}
			return nil, b.Connect(c.caller, req)
		}, nil},
		{"POST", "/v1/answer", person, answerBody, "answer sign-in questions", func(c *call) (any, error) {
			a, err := decode[Answer](c.body)
			if err != nil {
				return nil, err
			}
			return nil, b.Answer(c.caller, a)
		}, nil},
		{"POST", "/v1/disconnect", anyone, smallBody, "disconnect tunnels", func(c *call) (any, error) {
			req, err := decode[nameRequest](c.body)
			if err != nil {
				return nil, err
			}
			return nil, b.Disconnect(c.ctx, c.caller, req.Name)
		}, nil},
	}
}

// decode reads one JSON object strictly: a field that this version does not know could
// be a wish that would be dropped in silence. The error never quotes the body.
func decode[T any](body []byte) (T, error) {
	var v T
	if !json.Valid(body) {
		return v, NewProblem(CodeRequestInvalid, map[string]string{"detail": "it is not JSON"})
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&v); err != nil {
		var zero T
		return zero, NewProblem(CodeRequestInvalid, map[string]string{"detail": "its fields are not those of this version"})
	}
	return v, nil
}
