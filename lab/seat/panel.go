//go:build linux

package seat

import (
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/godbus/dbus/v5"
)

// Notes are the desktop's notifications (Desktop Notifications Specification 1.2).
type Notes struct {
	mu   sync.Mutex
	said []string
}

// Said are the notifications so far, each as "title: text".
func (n *Notes) Said() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]string(nil), n.said...)
}

func (n *Notes) serve(bus *dbus.Conn) error {
	return offer(bus, notifications{n}, "/org/freedesktop/Notifications", "org.freedesktop.Notifications")
}

func offer(bus *dbus.Conn, what any, path dbus.ObjectPath, name string) error {
	if err := bus.Export(what, path, name); err != nil {
		return err
	}
	reply, err := bus.RequestName(name, dbus.NameFlagDoNotQueue)
	if err == nil && reply != dbus.RequestNameReplyPrimaryOwner {
		err = fmt.Errorf("the bus has %s already", name)
	}
	return err
}

// notifications is what the bus calls.
type notifications struct{ notes *Notes }

// Notify is org.freedesktop.Notifications.Notify.
func (n notifications) Notify(_ string, _ uint32, _, title, text string, _ []string, _ map[string]dbus.Variant, _ int32) (uint32, *dbus.Error) {
	n.notes.mu.Lock()
	defer n.notes.mu.Unlock()
	n.notes.said = append(n.notes.said, title+": "+text)
	return uint32(len(n.notes.said)), nil
}

// Panel is the desktop's tray (org.kde.StatusNotifierWatcher), for one item.
type Panel struct {
	bus  *dbus.Conn
	mu   sync.Mutex
	item dbus.BusObject // nil: none yet
}

func (p *Panel) serve(bus *dbus.Conn) error {
	p.bus = bus
	return offer(bus, watcher{p}, "/StatusNotifierWatcher", "org.kde.StatusNotifierWatcher")
}

// watcher is what the bus calls.
type watcher struct{ panel *Panel }

// RegisterStatusNotifierItem takes the name of an item, or a path at who calls.
func (w watcher) RegisterStatusNotifierItem(item string, sender dbus.Sender) *dbus.Error {
	name, path := item, dbus.ObjectPath("/StatusNotifierItem")
	if strings.HasPrefix(item, "/") {
		name, path = string(sender), dbus.ObjectPath(item)
	}
	w.panel.mu.Lock()
	defer w.panel.mu.Unlock()
	w.panel.item = w.panel.bus.Object(name, path)
	return nil
}

// Item is a tray's item as a panel shows it.
type Item struct {
	Title, Tooltip string
	Icon           []byte // ARGB, the largest
	Side           int    // of the icon, pixels
	Menu           []Line
	menu           dbus.BusObject
}

// Line is one of the menu.
type Line struct {
	ID      int32
	Label   string // empty: between groups
	Enabled bool
}

// Labels are the lines that say something.
func (i Item) Labels() (out []string) {
	for _, l := range i.Menu {
		if l.Label != "" {
			out = append(out, l.Label)
		}
	}
	return out
}

// ErrNoItem says that no program has put an item into the tray.
var ErrNoItem = errors.New("the tray is empty")

// Item asks the item how it looks at the moment.
func (p *Panel) Item() (i Item, err error) {
	p.mu.Lock()
	object := p.item
	p.mu.Unlock()
	if object == nil {
		return i, ErrNoItem
	}
	is := map[string]dbus.Variant{}
	if err := object.Call("org.freedesktop.DBus.Properties.GetAll", 0, "org.kde.StatusNotifierItem").Store(&is); err != nil {
		return i, err
	}
	i.Title, _ = is["Title"].Value().(string)
	if hint, _ := is["ToolTip"].Value().([]any); len(hint) == 4 {
		i.Tooltip, _ = hint[2].(string)
	}
	var icons []struct {
		W, H int32
		Pix  []byte
	}
	if err := is["IconPixmap"].Store(&icons); err != nil {
		return i, err
	}
	for _, x := range icons {
		if x.W == x.H && int(x.W) > i.Side && len(x.Pix) == 4*int(x.W)*int(x.H) {
			i.Side, i.Icon = int(x.W), x.Pix
		}
	}
	path, ok := is["Menu"].Value().(dbus.ObjectPath)
	if !ok {
		return i, errors.New("the item has no menu")
	}
	i.menu = p.bus.Object(object.Destination(), path)
	var revision uint32
	var root struct {
		ID    int32
		Is    map[string]dbus.Variant
		Lines []dbus.Variant
	}
	if err := i.menu.Call("com.canonical.dbusmenu.GetLayout", 0, int32(0), int32(-1), []string{}).Store(&revision, &root); err != nil {
		return i, err
	}
	for _, v := range root.Lines {
		of, _ := v.Value().([]any)
		if len(of) != 3 {
			return i, fmt.Errorf("the menu has %v", v)
		}
		var l Line
		l.ID, _ = of[0].(int32)
		line, _ := of[1].(map[string]dbus.Variant)
		l.Label, _ = line["label"].Value().(string)
		l.Enabled, _ = line["enabled"].Value().(bool)
		i.Menu = append(i.Menu, l)
	}
	return i, nil
}

// Press presses a line of the menu; false: there is none with this label that may be pressed.
func (i Item) Press(label string) (bool, error) {
	for _, l := range i.Menu {
		if l.Label == label && l.Enabled {
			return true, i.menu.Call("com.canonical.dbusmenu.Event", 0, l.ID, "clicked", dbus.MakeVariant(""), uint32(0)).Err
		}
	}
	return false, nil
}

// Tap clicks on the icon itself.
func (p *Panel) Tap() error {
	p.mu.Lock()
	object := p.item
	p.mu.Unlock()
	if object == nil {
		return ErrNoItem
	}
	return object.Call("org.kde.StatusNotifierItem.Activate", 0, int32(0), int32(0)).Err
}
