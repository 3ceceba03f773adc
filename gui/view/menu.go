package view

import "github.com/adit-vpn/adit/gui/i18n"

// menus are the window's: everything that can be done, with its key. What cannot be done now is there, but not
// enabled.
func (r renderer) menus(s *Screen) []Menu {
	profile := Menu{Label: r.t(i18n.MenuProfile)}
	if d := s.Detail; d != nil {
		for i, b := range d.Buttons {
			c := Command{Label: b.Label, Action: b.Action, Enabled: b.Enabled}
			switch {
			case i == 0:
				c.Key = Key{Name: "Return", Primary: true}
			case b.Action.Kind == ActionAskRename:
				c.Key = Key{Name: "F2"}
			case b.Action.Kind == ActionAskRemove:
				c.Key = Key{Name: "Delete"}
			}
			profile.Commands = append(profile.Commands, c)
		}
		profile.Commands = append(profile.Commands, Command{})
	}
	if t := s.Toast; t != nil && t.Button != nil {
		profile.Commands = append(profile.Commands, Command{Label: t.Button.Label, Action: t.Button.Action, Enabled: t.Button.Enabled}, Command{})
	}
	for _, b := range s.Add {
		profile.Commands = append(profile.Commands, Command{Label: b.Label, Action: b.Action, Enabled: b.Enabled,
			Key: Key{Name: "O", Primary: true, Shift: b.Action.Kind == ActionAskAddress}})
	}
	if b := r.demoButton(); b != nil {
		profile.Commands = append(profile.Commands, Command{Label: b.Label, Action: b.Action, Enabled: b.Enabled})
	}
	profile.Commands = append(profile.Commands, Command{},
		Command{Label: r.t(i18n.MenuClose), Action: Action{Kind: ActionCloseWindow}, Enabled: true, Key: Key{Name: "W", Primary: true}},
		Command{Label: r.t(i18n.TrayQuit), Action: Action{Kind: ActionQuit}, Enabled: true, Key: Key{Name: "Q", Primary: true}})

	keys := map[Page]Key{PageProfiles: {Name: "1", Primary: true}, PageExplain: {Name: "E", Primary: true}, PageLog: {Name: "L", Primary: true},
		PageSettings: {Name: ",", Primary: true}, PageAbout: {Name: "F1"}}
	look := Menu{Label: r.t(i18n.MenuView)}
	for _, p := range s.Pages {
		look.Commands = append(look.Commands, Command{Label: p.Label, Page: p.Page, Enabled: true, Current: p.Page == s.Page, Key: keys[p.Page]})
	}
	log := s.Page == PageLog
	look.Commands = append(look.Commands, Command{},
		Command{Label: r.t(i18n.MenuSearch), Action: Action{Kind: ActionSearch}, Enabled: log || s.Page == PageExplain || s.Page == PageProfiles && s.Detail.searchable(),
			Key: Key{Name: "F", Primary: true}},
		Command{Label: r.t(i18n.MenuCopyLog), Action: Action{Kind: ActionCopyLog}, Enabled: log, Key: Key{Name: "C", Primary: true, Shift: true}},
		Command{Label: r.t(i18n.MenuSaveLog), Action: Action{Kind: ActionSaveLog}, Enabled: log, Key: Key{Name: "S", Primary: true}})
	if r.reports {
		look.Commands = append(look.Commands, Command{Label: r.t(i18n.ReportDo), Action: Action{Kind: ActionSaveReport}, Enabled: !r.report.busy, Key: Key{Name: "S", Primary: true, Shift: true}})
	}
	return []Menu{profile, look}
}

// searchable says whether there are networks to search.
func (d *Detail) searchable() bool {
	return d != nil && (len(d.Through.Networks) > 0 || d.Through.Filter != "")
}
