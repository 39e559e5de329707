package crdt

import (
	"iter"
	"slices"
	"strings"
)

// list is a tree of elements (R6): an element hangs below the one it was inserted after, or
// below the root when that is no element of this list.
type list struct {
	root  element
	byDot map[Dot]*element
}

type element struct {
	Entry
	ref      Dot // as written; the parent differs while ref is not in effect here
	parent   *element
	children []*element // best first
	hidden   bool       // for good
	hiders   []Dot      // operations issued again that hide it while they count
}

// insert adds o to its list. An element that was quarantined takes over the elements that
// were inserted after it meanwhile.
func (d *Doc) insert(o *Op, e Entry, prior *absent) {
	l := d.lists[o.Path]
	if l == nil {
		if d.lists == nil {
			d.lists = map[string]*list{}
		}
		l = &list{byDot: map[Dot]*element{}}
		d.lists[strings.Clone(o.Path)] = l
	}
	el := &element{Entry: e, ref: o.Ref}
	if prior != nil {
		el.hidden, el.hiders = prior.replaced, prior.replacers
		for _, waiting := range slices.Clone(l.root.children) {
			if waiting.ref == el.Dot {
				l.root.detach(waiting)
				el.attach(waiting)
			}
		}
	}
	parent := l.byDot[o.Ref]
	if parent == nil {
		parent = &l.root
	}
	parent.attach(el)
	l.byDot[el.Dot] = el
}

func (el *element) position(child *element) (int, bool) {
	return slices.BinarySearchFunc(el.children, child, func(a, b *element) int { return a.Compare(b.Entry) })
}

func (el *element) attach(child *element) {
	i, _ := el.position(child)
	el.children = slices.Insert(el.children, i, child)
	child.parent = el
}

func (el *element) detach(child *element) {
	if i, found := el.position(child); found {
		el.children = slices.Delete(el.children, i, i+1)
	}
}

// hide marks the elements o names (R6); for an operation issued again only while it counts.
func (d *Doc) hide(o *Op) {
	l := d.lists[o.Path]
	if l == nil {
		return
	}
	for _, x := range o.Seen {
		el := l.byDot[x]
		switch {
		case el == nil:
		case o.Origin == "":
			el.hidden = true
		default:
			el.hiders = append(el.hiders, o.Dot)
		}
	}
}

// unhide takes back what hide did for an operation that no longer counts.
func (d *Doc) unhide(o *Op) {
	l := d.lists[o.Path]
	if l == nil {
		return
	}
	for _, x := range o.Seen {
		if el := l.byDot[x]; el != nil {
			el.hiders = dropDot(el.hiders, o.Dot)
		}
	}
}

// remove takes an element out altogether; what was inserted after it goes to the root.
func (d *Doc) remove(o *Op) {
	l := d.lists[o.Path]
	el := l.byDot[o.Dot]
	el.parent.detach(el)
	for _, child := range el.children {
		l.root.attach(child)
	}
	delete(l.byDot, o.Dot)
	if len(l.byDot) == 0 {
		delete(d.lists, o.Path)
	}
}

// all yields the elements in order, hidden ones too and parents before children, without
// recursion: a list typed top to bottom is as deep as it is long.
func (l *list) all() iter.Seq[*element] {
	return func(yield func(*element) bool) {
		stack := reversed(nil, l.root.children)
		for len(stack) > 0 {
			el := stack[len(stack)-1]
			stack = reversed(stack[:len(stack)-1], el.children)
			if !yield(el) {
				return
			}
		}
	}
}

func (l *list) visible() []Entry {
	var entries []Entry
	for el := range l.all() {
		if !el.hidden && len(el.hiders) == 0 {
			entries = append(entries, el.Entry)
		}
	}
	return entries
}

func reversed(stack, children []*element) []*element {
	for i := len(children) - 1; i >= 0; i-- {
		stack = append(stack, children[i])
	}
	return stack
}

func dropDot(dots []Dot, dot Dot) []Dot {
	return slices.DeleteFunc(dots, func(x Dot) bool { return x == dot })
}
