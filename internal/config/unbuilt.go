package config

import "slices"

// Unbuilt names the settings that are set, in the defaults or for an app, and
// that this version checks and otherwise ignores: worth a warning, because
// somebody counts on them.
func (c *Config) Unbuilt() []string {
	var names []string
	note := func(name string, set bool) {
		if set && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	all := []Settings{c.Defaults}
	for _, app := range c.Apps {
		all = append(all, app.Settings)
	}
	for _, s := range all {
		note("webhook.url", s.Webhook.URL != "")
		note("friend_check", s.FriendCheck)
		note("blocked_sees_success", !s.BlockedSeesSuccess)
		note("push_to_all", s.PushToAll)
	}
	return names
}
