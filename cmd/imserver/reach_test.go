package main

import (
	"strings"
	"testing"

	"imserver/internal/command"
)

// reach says how far a command of users reaches.
type reach uint8

const (
	unknown reach = iota
	// own: it acts on things of the caller, whatever the request names, or
	// shows what the app lets anybody see.
	own
	// between: it is for the two of the chat that the request names; others are
	// refused.
	between
	// among: it is for members of the group that the request names.
	among
)

// reaches has every command of the protocol, by service. Whoever adds a command
// adds it here, and says so what an outsider may do with it; groups' commands
// stand for the same of communities.
var reaches = map[reach]map[string]string{
	own: {
		"follow":                     `follow_add follow_check follow_delete follow_get follow_get_info`,
		"group_member_search":        `query`,
		"group_open_http_noauth_svc": `apply_join_group`,
		"group_open_http_svc": `batch_get_group_notify create_group get_group_info get_group_msg_receipts_by_users get_group_public_info
			get_group_self_member_info get_huge_group_msg get_joined_group_list get_pendency`,
		"group_open_long_polling_http_noauth_svc": `get_msg`,
		"group_open_long_polling_http_svc":        `get_msg`,
		"group_search":                            `query`,
		"heartbeat":                               `alive`,
		"im_cos_msg":                              `get_final_ip get_imageinfo pre_sig simple_sig video_cover`,
		"im_cos_sign_svr":                         `cos`,
		"im_long_msg":                             `get_relay_json_msg save_relay_json_msg`,
		"im_msg_audit_mgr":                        `get_local_words`,
		"im_msg_db_logic":                         `ws_get_do_not_disturb ws_set_do_not_disturb`,
		"im_open_speech":                          `ws_sentence_recognition`,
		"im_open_status": `ws_get_user_status ws_set_custom_status ws_stat_background ws_stat_foreground ws_stat_settoken ws_status_subscribe
			ws_status_unsubscribe wshello wslogin wslogout`,
		"im_open_translate":   `ws_batch_trans_text`,
		"im_sdk_config_mgr":   `fetch_config fetch_imsdk_purchase_bitsv2`,
		"imopenstat":          `tim_web_report_v2`,
		"message_search":      `query`,
		"offline_push_report": `uniapp_sdk_report`,
		"offline_push_status": `webpush_set_token`,
		"openim": `authkey c2c_msg_read_receipt deletemsg get_c2c_peer_mute_notifications get_peer_read_time getmsg getroammsg msgreaded
			read_all_unread_msg sendmsg set_c2c_peer_mute_notifications ws_msg_push_ack`,
		"profile": `portrait_get_all portrait_set`,
		"recentcontact": `batch_delete clear_msg create_contact_group del_contact_group get_contact_group mark_contact page_get
			search_contact_group top update_contact_group`,
		"sns": `black_list_add black_list_delete black_list_get friend_add friend_check friend_delete friend_get friend_get_specified
			friend_response friend_update group_add group_delete group_get group_update pendency_delete pendency_get pendency_report`,
		"user_search": `query`,
	},
	among: {
		"group_open_attr_http_svc":       `get_group_attr`,
		"group_open_avchatroom_http_svc": `get_members modify_user_info`,
		"group_open_http_svc": `add_group_member apply_join_group ban_group_member change_group_owner clear_group_attr create_topic
			delete_group_attr delete_group_member delete_group_ramble_msg_by_seq destroy_group destroy_topic get_group_attr get_group_counter
			get_group_member_info get_group_msg_receipt get_group_msg_receipt_detail get_group_notify get_online_member_num get_pinned_messages
			get_specified_group_member_info get_topic group_msg_get group_msg_recall group_msg_receipt handle_apply_join_group
			handle_invite_join_group handle_invite_join_permission_group modify_group_attr modify_group_base_info modify_group_member_info
			modify_topic msg_read_report pin_message quit_group send_group_msg set_group_attr unpin_message update_group_counter`,
		"openim": `modify_group_msg`,
		"openim_msg_ext_http_svc": `group_get_key_values group_reaction_add group_reaction_del group_reaction_iterate group_reaction_multi_stat
			group_set_key_values`,
	},
	between: {
		"openim":                  `delete_c2c_msg_ramble modify_c2c_msg msgwithdraw`,
		"openim_msg_ext_http_svc": `get_key_values reaction_add reaction_del reaction_iterate reaction_multi_stat set_key_values`,
	},
}

// reachOf looks a command up; unknown if nobody has said.
func reachOf(name string) reach {
	service, cmd, _ := strings.Cut(strings.TrimPrefix(name, "million_"), ".")
	for r, services := range reaches {
		for _, c := range strings.Fields(services[service]) {
			if c == cmd {
				return r
			}
		}
	}
	return unknown
}

// forbidden reports whether a request is for alice's and bob's group or chat
// alone.
func (s *stage) forbidden(name, body string) bool {
	switch reachOf(name) {
	case among:
		return strings.Contains(body, `"`+s.group+`"`)
	case between:
		return strings.Contains(body, `"From_Account":"alice","To_Account":"bob"`)
	}
	return false
}

// Ensure that of every command that users can call somebody has said how far it
// reaches.
func TestReachIsKnown(t *testing.T) {
	s := mustStage(t)
	for _, c := range s.table.List() {
		if c.Access&^command.Admins&(command.Users|command.Anonymous|command.Tickets) != 0 && reachOf(c.Name) == unknown {
			t.Errorf("add %s to reaches, and a request to testdata/requests.jsonl: what can one do with it who has nothing to do with what it names?", c.Name)
		}
	}
}
