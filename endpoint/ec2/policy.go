package ec2

import "github.com/adit-vpn/adit/endpoint/model"

// The authorization policy of an endpoint. Its states are texts, where others have codes with messages.

type policyState struct {
	head
	Status string `xml:"status"`
}

func modifyPolicy(c *call, in struct {
	inEndpoint
	inToken
	Document    *string `query:"PolicyDocument"`
	Description *string `query:"Description"`
	Shadow      *string `query:"ShadowMode"`
}) (*policyState, error) {
	s, err := c.m.ModifyPolicy(c.ctx, c.with(in.ClientToken), in.ID, model.PolicyChange{Document: in.Document, Description: in.Description, Shadow: in.Shadow})
	return &policyState{Status: s.Code}, err
}

func deletePolicy(c *call, in inEndpoint) (*policyState, error) {
	s, err := c.m.DeletePolicy(c.ctx, c.with(""), in.ID)
	return &policyState{Status: s.Code}, err
}

type policyAnswer struct {
	head
	Endpoint    string `xml:"clientVpnEndpointId"`
	Document    string `xml:"policyDocument"`
	Description string `xml:"description"`
	Shadow      string `xml:"shadowMode"`
	Status      string `xml:"status"`
}

func getPolicy(c *call, in inEndpoint) (*policyAnswer, error) {
	p, err := c.m.Policy(in.ID)
	out := &policyAnswer{Endpoint: p.Endpoint, Document: p.Document, Description: p.Description, Shadow: "disabled", Status: p.Status.Code}
	if p.Shadow {
		out.Shadow = "enabled"
	}
	return out, err
}
