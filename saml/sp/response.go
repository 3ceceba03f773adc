package sp

import (
	"encoding/xml"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// The signed parts, as their canonical bytes say (SAML core, 2 and 3).
type responseXML struct {
	XMLName      xml.Name  `xml:"urn:oasis:names:tc:SAML:2.0:protocol Response"`
	Version      string    `xml:"Version,attr"`
	Destination  string    `xml:"Destination,attr"`
	InResponseTo string    `xml:"InResponseTo,attr"`
	IssueInstant string    `xml:"IssueInstant,attr"`
	Issuer       []textXML `xml:"urn:oasis:names:tc:SAML:2.0:assertion Issuer"`
	Status       []struct {
		Code    []codeXML `xml:"urn:oasis:names:tc:SAML:2.0:protocol StatusCode"`
		Message []string  `xml:"urn:oasis:names:tc:SAML:2.0:protocol StatusMessage"`
	} `xml:"urn:oasis:names:tc:SAML:2.0:protocol Status"`
	Assertion []struct {
		ID string `xml:"ID,attr"`
	} `xml:"urn:oasis:names:tc:SAML:2.0:assertion Assertion"`
}

type codeXML struct {
	Value string    `xml:"Value,attr"`
	Code  []codeXML `xml:"urn:oasis:names:tc:SAML:2.0:protocol StatusCode"`
}

type textXML struct {
	Text  string     `xml:",chardata"`
	Other []xml.Name `xml:",any"`
}

type assertionXML struct {
	XMLName      xml.Name  `xml:"urn:oasis:names:tc:SAML:2.0:assertion Assertion"`
	ID           string    `xml:"ID,attr"`
	Version      string    `xml:"Version,attr"`
	IssueInstant string    `xml:"IssueInstant,attr"`
	Issuer       []textXML `xml:"urn:oasis:names:tc:SAML:2.0:assertion Issuer"`
	Subject      []struct {
		NameID       []textXML `xml:"urn:oasis:names:tc:SAML:2.0:assertion NameID"`
		Confirmation []struct {
			Method string `xml:"Method,attr"`
			Data   []struct {
				Recipient    string `xml:"Recipient,attr"`
				InResponseTo string `xml:"InResponseTo,attr"`
				NotBefore    string `xml:"NotBefore,attr"`
				NotOnOrAfter string `xml:"NotOnOrAfter,attr"`
			} `xml:"urn:oasis:names:tc:SAML:2.0:assertion SubjectConfirmationData"`
		} `xml:"urn:oasis:names:tc:SAML:2.0:assertion SubjectConfirmation"`
	} `xml:"urn:oasis:names:tc:SAML:2.0:assertion Subject"`
	Conditions []struct {
		NotBefore    string `xml:"NotBefore,attr"`
		NotOnOrAfter string `xml:"NotOnOrAfter,attr"`
		Audiences    []struct {
			Audience []textXML `xml:"urn:oasis:names:tc:SAML:2.0:assertion Audience"`
		} `xml:"urn:oasis:names:tc:SAML:2.0:assertion AudienceRestriction"`
		OneTimeUse []struct{} `xml:"urn:oasis:names:tc:SAML:2.0:assertion OneTimeUse"`
		Proxy      []struct{} `xml:"urn:oasis:names:tc:SAML:2.0:assertion ProxyRestriction"`
		Other      []struct {
			XMLName xml.Name
		} `xml:",any"`
	} `xml:"urn:oasis:names:tc:SAML:2.0:assertion Conditions"`
	Authn []struct {
		SessionNotOnOrAfter string `xml:"SessionNotOnOrAfter,attr"`
	} `xml:"urn:oasis:names:tc:SAML:2.0:assertion AuthnStatement"`
	Attributes []struct {
		Attribute []struct {
			Name  string    `xml:"Name,attr"`
			Value []textXML `xml:"urn:oasis:names:tc:SAML:2.0:assertion AttributeValue"`
		} `xml:"urn:oasis:names:tc:SAML:2.0:assertion Attribute"`
	} `xml:"urn:oasis:names:tc:SAML:2.0:assertion AttributeStatement"`
}

const (
	statusSuccess  = "urn:oasis:names:tc:SAML:2.0:status:Success"
	methodBearer   = "urn:oasis:names:tc:SAML:2.0:cm:bearer"
	groupAttribute = "memberOf"
)

// open checks both signatures and reads what they cover, and nothing else.
func (p *Provider) open(text []byte, now time.Time) (r responseXML, a assertionXML, err error) {
	root, err := document(text)
	if err != nil {
		return r, a, err
	}
	element, err := layout(root)
	if err != nil {
		return r, a, err
	}
	signed, err := verify(root, p.idp.Signing, now)
	if err != nil {
		return r, a, fmt.Errorf("response: %w", err)
	}
	if err := xml.Unmarshal(signed, &r); err != nil {
		return r, a, fmt.Errorf("%w: response: %w", ErrMalformed, err)
	}
	if err := r.status(); err != nil {
		return r, a, err // an answer that says no has no assertion
	}
	if element == nil {
		return r, a, fmt.Errorf("%w: no assertion", ErrMalformed)
	}
	if signed, err = verify(element, p.idp.Signing, now); err != nil {
		return r, a, fmt.Errorf("assertion: %w", err)
	}
	if err := xml.Unmarshal(signed, &a); err != nil {
		return r, a, fmt.Errorf("%w: assertion: %w", ErrMalformed, err)
	}
	if len(r.Assertion) != 1 || a.ID == "" || r.Assertion[0].ID != a.ID {
		return r, a, fmt.Errorf("%w: the assertion is not the one of the response", ErrMalformed)
	}
	return r, a, nil
}

// status is the identity provider's own verdict.
func (r *responseXML) status() error {
	if len(r.Status) != 1 || len(r.Status[0].Code) != 1 {
		return fmt.Errorf("%w: no status", ErrMalformed)
	}
	code := r.Status[0].Code[0]
	if code.Value == statusSuccess {
		return nil
	}
	text := code.Value
	if len(code.Code) > 0 {
		text += ", " + code.Code[0].Value
	}
	if len(r.Status[0].Message) > 0 {
		text += ": " + r.Status[0].Message[0]
	}
	return fmt.Errorf("%w: %.300q", ErrStatus, text)
}

// judge holds the rules of the web browser profile (SAML profiles, 4.1.4.2 and 4.1.4.3) against
// what was signed.
func (p *Provider) judge(r responseXML, a assertionXML, to Request, now time.Time) (Identity, error) {
	for _, check := range []func() error{
		func() error { return p.judgeResponse(r, to, now) },
		func() error { return p.judgeAssertion(a, now) },
		func() error { return judgeConditions(a, now) },
		func() error { return judgeConfirmation(a, to, now) },
	} {
		if err := check(); err != nil {
			return Identity{}, err
		}
	}
	return identity(a)
}

func (p *Provider) judgeResponse(r responseXML, to Request, now time.Time) error {
	switch {
	case r.Version != "2.0":
		return fmt.Errorf("%w: version %q", ErrMalformed, r.Version)
	case len(r.Issuer) > 1 || len(r.Issuer) == 1 && !r.Issuer[0].is(p.idp.EntityID):
		return fmt.Errorf("%w: the response is not from %s", ErrIssuer, p.idp.EntityID)
	case r.Destination != ACS:
		return fmt.Errorf("%w: the response is for %q, not %s", ErrDestination, r.Destination, ACS)
	case r.InResponseTo != to.ID:
		return fmt.Errorf("%w: the response answers %q, not %q", ErrRequest, r.InResponseTo, to.ID)
	}
	return issued(r.IssueInstant, now)
}

func (p *Provider) judgeAssertion(a assertionXML, now time.Time) error {
	switch {
	case a.Version != "2.0":
		return fmt.Errorf("%w: version %q", ErrMalformed, a.Version)
	case len(a.Issuer) != 1 || !a.Issuer[0].is(p.idp.EntityID):
		return fmt.Errorf("%w: the assertion is not from %s", ErrIssuer, p.idp.EntityID)
	case len(a.Authn) == 0:
		return fmt.Errorf("%w: no authentication statement", ErrSubject)
	}
	for _, s := range a.Authn {
		if err := within("", s.SessionNotOnOrAfter, now); err != nil {
			return err
		}
	}
	return issued(a.IssueInstant, now)
}

// judgeConditions: OneTimeUse holds for every assertion here, and ProxyRestriction speaks to
// others; what else there may be is not understood, and so not met (core, 2.5.1.1).
func judgeConditions(a assertionXML, now time.Time) error {
	if len(a.Conditions) != 1 {
		return fmt.Errorf("%w: %d elements Conditions", ErrAudience, len(a.Conditions))
	}
	c := &a.Conditions[0]
	if err := within(c.NotBefore, c.NotOnOrAfter, now); err != nil {
		return err
	}
	if len(c.Other) > 0 {
		return fmt.Errorf("%w: condition %q is not known", ErrAudience, c.Other[0].XMLName.Local)
	}
	if len(c.Audiences) == 0 {
		return fmt.Errorf("%w: the assertion is for anyone, not for %s", ErrAudience, EntityID)
	}
	for _, r := range c.Audiences { // each must be met
		if !slices.ContainsFunc(r.Audience, func(t textXML) bool { return t.is(EntityID) }) {
			return fmt.Errorf("%w: the assertion is for others, not for %s", ErrAudience, EntityID)
		}
	}
	return nil
}

// judgeConfirmation wants one way to confirm the subject that fits: whoever bears the
// assertion, brought here in time, as the answer to the request.
func judgeConfirmation(a assertionXML, to Request, now time.Time) error {
	if len(a.Subject) != 1 {
		return fmt.Errorf("%w: %d subjects", ErrSubject, len(a.Subject))
	}
	err := fmt.Errorf("%w: no confirmation by its bearer", ErrSubject)
	for _, c := range a.Subject[0].Confirmation {
		if c.Method != methodBearer || len(c.Data) != 1 {
			continue
		}
		d := c.Data[0]
		switch {
		case d.Recipient != ACS:
			err = fmt.Errorf("%w: the assertion is for %q, not %s", ErrDestination, d.Recipient, ACS)
		case d.InResponseTo != to.ID:
			err = fmt.Errorf("%w: the assertion answers %q, not %q", ErrRequest, d.InResponseTo, to.ID)
		case d.NotOnOrAfter == "":
			err = fmt.Errorf("%w: the confirmation has no end", ErrTime)
		default:
			if err = within(d.NotBefore, d.NotOnOrAfter, now); err == nil {
				return nil
			}
		}
	}
	return err
}

// identity reads name and groups.
func identity(a assertionXML) (Identity, error) {
	if n := len(a.Subject[0].NameID); n != 1 {
		return Identity{}, fmt.Errorf("%w: %d NameIDs", ErrSubject, n)
	}
	name, ok := a.Subject[0].NameID[0].plain()
	if !ok || name == "" {
		return Identity{}, fmt.Errorf("%w: NameID %.40q is empty or not printable", ErrSubject, name)
	}
	if utf8.RuneCountInString(name) > MaxName {
		name = string([]rune(name)[:MaxName])
	}
	who := Identity{Name: name}
	for _, s := range a.Attributes {
		for _, attribute := range s.Attribute {
			if attribute.Name != groupAttribute {
				continue
			}
			for _, v := range attribute.Value {
				group, ok := v.plain()
				switch {
				case group == "" || slices.Contains(who.Groups, group):
				case !ok || len(who.Groups) == MaxGroups || utf8.RuneCountInString(group) > MaxGroup:
					who.Ignored++
				default:
					who.Groups = append(who.Groups, group)
				}
			}
		}
	}
	return who, nil
}

// plain is an element's text without space around it; ok is false when it holds other elements or
// characters that have no place in a name.
func (t textXML) plain() (text string, ok bool) {
	text = strings.TrimSpace(t.Text)
	return text, len(t.Other) == 0 && !strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) })
}

func (t textXML) is(want string) bool {
	text, ok := t.plain()
	return ok && text == want
}

// issued refuses what comes from the future.
func issued(at string, now time.Time) error { return within(at, "", now) }

// within says whether now is in a span; empty ends are open.
func within(from, until string, now time.Time) error {
	if from != "" {
		t, err := parseTime(from)
		if err != nil {
			return err
		}
		if now.Add(Skew).Before(t) {
			return fmt.Errorf("%w: not before %s, it is %s here", ErrTime, from, now.UTC().Format(time.RFC3339))
		}
	}
	if until != "" {
		t, err := parseTime(until)
		if err != nil {
			return err
		}
		if !now.Add(-Skew).Before(t) {
			return fmt.Errorf("%w: expired at %s, it is %s here", ErrTime, until, now.UTC().Format(time.RFC3339))
		}
	}
	return nil
}

// parseTime reads xs:dateTime, which SAML wants in UTC (core, 1.3.3).
func parseTime(text string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339Nano, strings.TrimSpace(text))
	if err != nil {
		return time.Time{}, fmt.Errorf("%w: %.40q is no time", ErrTime, text)
	}
	return t, nil
}
