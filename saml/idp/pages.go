package idp

import "html/template"

const frame = `{{define "head"}}<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>{{.Title}}</title>
<style nonce="{{.Nonce}}">
:root { color-scheme: light dark }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 26rem; margin: 3rem auto; padding: 0 1rem }
label, input, button { display: block; width: 100%; box-sizing: border-box; font: inherit }
input, button { padding: .5rem; margin: .25rem 0 1rem }
table { border-collapse: collapse; width: 100% } td, th { text-align: left; padding: .25rem .5rem .25rem 0 }
.problem { border-left: .25rem solid #c00; padding-left: .75rem }
.note { opacity: .75; font-size: .875rem }
</style></head><body><h1>{{.Title}}</h1>{{end}}
{{define "foot"}}<p class="note">Test identity provider of adit-endpoint, for testers only.</p></body></html>{{end}}
{{define "shown"}}{{with .Shown}}<h2>Test users</h2><table><tr><th>User name</th><th>Password</th><th>Groups</th></tr>
{{range .}}<tr><td><code>{{.Name}}</code></td><td><code>{{.Password}}</code></td><td>{{range .Groups}}<code>{{.}}</code> {{end}}</td></tr>
{{end}}</table>{{end}}{{end}}`

func parse(text string) *template.Template {
	return template.Must(template.Must(template.New("page").Parse(frame)).Parse(text))
}

var welcomePage = parse(`{{template "head" .}}<p>The sign-in begins at the VPN client, which opens this page with its request.</p>
<p>Metadata: <a href="{{.Metadata}}">{{.Metadata}}</a></p>{{template "shown" .}}{{template "foot" .}}`)

var formPage = parse(`{{template "head" .}}<p>for <code>{{.Audience}}</code></p>{{with .Problem}}<p class="problem" id="problem">{{.}}</p>{{end}}
<form method="post" action="{{.Action}}"><input type="hidden" name="SAMLRequest" value="{{.Request}}"><input type="hidden" name="RelayState" value="{{.Relay}}">
<label for="username">User name</label><input id="username" name="username" value="{{.Name}}" autocomplete="username" required autofocus>
<label for="password">Password</label><input id="password" name="password" type="password" autocomplete="off" required>
{{if .Code}}<label for="code">One-time code, if you have one</label><input id="code" name="code" inputmode="numeric" autocomplete="one-time-code">
{{end}}<button type="submit">Sign in</button></form>{{template "shown" .}}{{template "foot" .}}`)

var postPage = parse(`{{template "head" .}}<p>You are <code>{{.Name}}</code>. The answer goes to the VPN client now.</p>
<form method="post" action="{{.Action}}"><input type="hidden" name="SAMLResponse" value="{{.Response}}"><input type="hidden" name="RelayState" value="{{.Relay}}">
<noscript><button type="submit">Continue</button></noscript></form><script nonce="{{.Nonce}}">document.forms[0].submit()</script>{{template "foot" .}}`)

var refusedPage = parse(`{{template "head" .}}<p class="problem" id="problem">{{.Problem}}</p>{{template "foot" .}}`)
