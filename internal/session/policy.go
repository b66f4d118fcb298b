package session

// Class is a kind of terminal in the sense of the login policy (protocol 06 §9).
type Class uint8

// Terminal classes. Mini-programs and cross-platform builds count as Web.
const (
	Web Class = iota
	Android
	IPhone
	IPad
	Windows
	Mac
	Linux
)

// classNames are the names that `NewInstInfo.Platform` and REST answers use.
var classNames = [...]string{"Web", "Android", "iPhone", "iPad", "Windows", "Mac", "Linux"}

// String returns the class's name.
func (c Class) String() string {
	if int(c) < len(classNames) {
		return classNames[c]
	}
	return "Unknown"
}

// ClassOf maps a platform number of the protocol to its class (protocol 01
// §1; 1 and 5 are the native SDKs' Windows and Linux).
func ClassOf(platform int) Class {
	switch platform {
	case 1:
		return Windows
	case 2:
		return Android
	case 3:
		return IPhone
	case 4:
		return Mac
	case 5:
		return Linux
	case 13:
		return IPad
	}
	return Web
}

// Mode is how many terminals of one account may be logged in at once.
type Mode string

// The modes (protocol 06 §9).
const (
	Single Mode = "single" // one terminal of any class
	Dual   Mode = "dual"   // one native terminal, and the web
	Triple Mode = "triple" // one mobile, one desktop, and the web
	Multi  Mode = "multi"  // every class at once
)

// Policy is an app's login policy.
type Policy struct {
	Mode Mode
	// Max is how many instances of each class may be logged in at once, at
	// least 1; the zero value of a class counts as 1.
	Max [len(classNames)]int
}

// group returns the group of mutually exclusive classes that c belongs to.
func (m Mode) group(c Class) int {
	switch m {
	case Single:
		return 0
	case Multi:
		return int(c)
	}
	if c == Web {
		return 0
	}
	if m == Triple && (c == Windows || c == Mac || c == Linux) {
		return 2
	}
	return 1
}

// Instance is a login that is alive when another one arrives.
type Instance struct {
	Inst  uint32
	Class Class
}

// Kick types that an SDK is told (protocol 01 §12).
const (
	KickAccount = 1 // the same kind of terminal logged in elsewhere
	KickDevice  = 2 // another kind of terminal took the place
	KickREST    = 3 // an administrator ended the login
)

// Victim is an instance that has to go, and why.
type Victim struct {
	Inst uint32
	Type uint8
}

// Decide returns who of have, ordered oldest first, must go when newcomer logs
// in: instances of other classes of its group, and the oldest of its own class
// beyond the maximum (the newest wins, protocol 06 §9).
func (p Policy) Decide(have []Instance, newcomer Class) []Victim {
	var victims []Victim
	same := 0
	for _, i := range have {
		if i.Class == newcomer {
			same++
		}
	}
	surplus := same + 1 - max(1, p.Max[newcomer])
	for _, i := range have {
		switch {
		case i.Class == newcomer && surplus > 0:
			surplus--
			victims = append(victims, Victim{i.Inst, KickAccount})
		case i.Class != newcomer && p.Mode.group(i.Class) == p.Mode.group(newcomer):
			victims = append(victims, Victim{i.Inst, KickDevice})
		}
	}
	return victims
}
