package ec2

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"net/http"
	"strings"

	"github.com/adit-vpn/adit/endpoint/ec2/query"
	"github.com/adit-vpn/adit/endpoint/model"
)

const (
	ec2Space   = "http://ec2.amazonaws.com/doc/2016-11-15/"
	ec2Version = "2016-11-15"
	stsSpace   = "https://sts.amazonaws.com/doc/2011-06-15/"
	stsVersion = "2011-06-15"
	iamSpace   = "https://iam.amazonaws.com/doc/2010-05-08/"
	iamVersion = "2010-05-08"
	formType   = "application/x-www-form-urlencoded"
	jsonType   = "application/x-amz-json-1.1"
	xmlType    = "text/xml;charset=UTF-8"
)

// reply is an HTTP answer.
type reply struct {
	status int
	kind   string // Content-Type
	body   []byte
	unread bool // the connection ends with it: the request was not read whole, or its sender is unknown
}

// errorShape writes a refusal as one of AWS's services does.
type errorShape func(id string, f *fault) reply

// service is one of AWS's services: how its requests are read and its answers written.
type service struct {
	kind   string // of its requests
	fails  errorShape
	answer func(s *Server, r *http.Request, body []byte, id string) ([]byte, error)
	kindOf string // of its answers
}

// serviceOf finds the service that a request was signed for.
func serviceOf(name string) (service, bool) {
	switch name {
	case "ec2":
		return service{formType, ec2Error, form((*Server).answerEC2), xmlType}, true
	case "sts":
		return service{formType, queryError(stsSpace), form((*Server).answerSTS), xmlType}, true
	case "iam":
		return service{formType, queryError(iamSpace), form((*Server).answerIAM), xmlType}, true
	case "acm":
		return service{jsonType, jsonError, (*Server).answerACM, jsonType}, true
	}
	return service{kind: formType, fails: ec2Error}, false
}

// form reads requests of services that take them as forms.
func form(answer func(*Server, context.Context, query.Form, string) ([]byte, error)) func(*Server, *http.Request, []byte, string) ([]byte, error) {
	return func(s *Server, r *http.Request, body []byte, id string) ([]byte, error) {
		f, err := query.Parse(string(body))
		if err != nil {
			return nil, err
		}
		return answer(s, r.Context(), f, id)
	}
}

// call is one request of EC2 on its way through its action.
type call struct {
	*Server
	ctx    context.Context
	dryRun bool
	form   string // the request as one text, without what changes from page to page
}

// dry says to a request that asks only whether it would work that it would.
func dry() *model.Error {
	return &model.Error{Code: model.CodeDryRun, Message: "Request would have succeeded, but DryRun flag is set."}
}

func badValue(message string) *model.Error {
	return &model.Error{Code: model.CodeBadValue, Message: message}
}

// operation is an action of EC2: parameters in, the fields of an answer out.
type operation func(c *call, form query.Form) (response, error)

// reads makes an operation of a function that changes nothing.
func reads[In any, Out response](do func(*call, In) (Out, error)) operation {
	return func(c *call, form query.Form) (response, error) {
		out, err := changes(do)(c, form)
		if err == nil && c.dryRun {
			err = dry()
		}
		return out, err
	}
}

// changes makes an operation of a function that hands c.dryRun on itself.
func changes[In any, Out response](do func(*call, In) (Out, error)) operation {
	return func(c *call, form query.Form) (response, error) {
		var in In
		if err := query.Decode(form, &in); err != nil {
			return nil, err
		}
		return do(c, in)
	}
}

func (s *Server) answerEC2(ctx context.Context, form query.Form, id string) ([]byte, error) {
	action, version := form.Take("Action"), form.Take("Version")
	do, ok := operations()[action]
	if !ok {
		return nil, &model.Error{Code: "InvalidAction", Message: "The action " + quoted(action) + " is not valid for this web service."}
	}
	if version != ec2Version {
		return nil, &model.Error{Code: "NoSuchVersion", Message: "The requested version (" + version + ") of service AmazonEC2 does not exist"}
	}
	var common struct {
		DryRun bool `query:"DryRun"`
	}
	if dryRun, there := form["DryRun"]; there {
		if err := query.Decode(query.Form{"DryRun": dryRun}, &common); err != nil {
			return nil, err
		}
		form.Take("DryRun")
	}
	c := &call{Server: s, ctx: ctx, dryRun: common.DryRun, form: action + "?" + form.Canonical("MaxResults", "NextToken")}
	out, err := do(c, form)
	if err != nil {
		return nil, err
	}
	out.identify(id)
	return element(action+"Response", ec2Space, out)
}

// metadata ends the answers of services beside EC2.
type metadata struct {
	RequestID string `xml:"RequestId"`
}

func (s *Server) answerSTS(_ context.Context, form query.Form, id string) ([]byte, error) {
	action, version := form.Take("Action"), form.Take("Version")
	if action != "GetCallerIdentity" || version != stsVersion {
		return nil, &model.Error{Code: "InvalidAction", Message: "Could not find operation " + quoted(action) + " for version " + quoted(version)}
	}
	type identity struct {
		Arn     string
		UserID  string `xml:"UserId"`
		Account string
	}
	return element(action+"Response", stsSpace, &struct {
		Result   identity `xml:"GetCallerIdentityResult"`
		Metadata metadata `xml:"ResponseMetadata"`
	}{identity{"arn:aws:iam::" + s.o.Account + ":root", s.o.Account, s.o.Account}, metadata{id}})
}

// element writes v as one element that declares its name space.
func element(name, space string, v any) ([]byte, error) {
	var b bytes.Buffer
	b.WriteString(xml.Header)
	err := xml.NewEncoder(&b).EncodeElement(v, xml.StartElement{
		Name: xml.Name{Local: name}, Attr: []xml.Attr{{Name: xml.Name{Local: "xmlns"}, Value: space}},
	})
	return b.Bytes(), err
}

// escaped is text inside an element.
func escaped(text string) string {
	var b strings.Builder
	xml.EscapeText(&b, []byte(text)) // a Builder takes everything
	return b.String()
}

func ec2Error(id string, f *fault) reply {
	return reply{status: f.status, kind: xmlType, body: []byte(xml.Header + "<Response><Errors><Error><Code>" + escaped(f.code) + "</Code><Message>" + escaped(f.message) +
		"</Message></Error></Errors><RequestID>" + id + "</RequestID></Response>")}
}

// queryError is how services beside EC2 refuse.
func queryError(space string) errorShape {
	return func(id string, f *fault) reply {
		who := "Sender"
		if f.status >= http.StatusInternalServerError {
			who = "Receiver"
		}
		return reply{status: f.status, kind: xmlType, body: []byte(xml.Header + `<ErrorResponse xmlns="` + space + `"><Error><Type>` + who + "</Type><Code>" + escaped(f.code) +
			"</Code><Message>" + escaped(f.message) + "</Message></Error><RequestId>" + id + "</RequestId></ErrorResponse>")}
	}
}

func jsonError(_ string, f *fault) reply {
	text, err := json.Marshal(map[string]string{"__type": f.code, "message": f.message})
	if err != nil {
		panic(err) // two strings
	}
	return reply{status: f.status, kind: jsonType, body: text}
}
