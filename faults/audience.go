package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"time"

	"imserver/bench/loadgen"
)

const audienceName = "a group of everybody online"

// audience is a process that plays many members of a group: one process may
// not have as many sockets as the group has members.
type audience struct {
	URL, Prefix string
	Count       int
	in          io.WriteCloser
	out         *bufio.Scanner
	cmd         *exec.Cmd
}

// heard is what an audience reports.
type heard struct {
	Deliveries     int64
	P50, P99, Last float64 // ms, from sending to arrival
}

// audienceVar holds the task of a process of the audience.
const audienceVar = "FAULTS_AUDIENCE"

// attend is the life of an audience's process: it opens the devices, says so,
// and reports at each line of its input.
func attend(task string) error {
	var a audience
	if err := json.Unmarshal([]byte(task), &a); err != nil {
		return err
	}
	var latency atomic.Pointer[loadgen.Histogram]
	latency.Store(&loadgen.Histogram{})
	push := func(doc []byte, _ int64) {
		now := time.Now().UnixNano()
		loadgen.Stamps(doc, func(sent, _ int64) { latency.Load().Record(time.Duration(now - sent)) })
	}
	devices, err := loadgen.OpenAll(loadgen.Target{URL: a.URL, App: appID, Key: appKey}, a.Prefix, a.Count, 48,
		func(int) func([]byte, int64) { return push }, nil)
	if err != nil {
		return err
	}
	fmt.Println("open")
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		h := latency.Swap(&loadgen.Histogram{}).Summary()
		if err := json.NewEncoder(os.Stdout).Encode(heard{Deliveries: int64(h.Count), P50: h.P50, P99: h.P99, Last: h.Max}); err != nil {
			return err
		}
	}
	loadgen.CloseAll(devices)
	return nil
}

// startAudience starts a process that plays count members on a node.
func startAudience(n *node, prefix string, count int) (*audience, error) {
	a := &audience{URL: n.url, Prefix: prefix, Count: count}
	task, err := json.Marshal(a)
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	a.cmd = exec.Command(self)
	a.cmd.Env = append(os.Environ(), audienceVar+"="+string(task))
	a.cmd.Stderr = os.Stderr
	if a.in, err = a.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := a.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	a.out = bufio.NewScanner(out)
	return a, a.cmd.Start()
}

func (a *audience) awaitOpen() error {
	if !a.out.Scan() || a.out.Text() != "open" {
		return fmt.Errorf("an audience could not be opened: %q", a.out.Text())
	}
	return nil
}

func (a *audience) report() (h heard, err error) {
	if _, err := io.WriteString(a.in, "report\n"); err != nil {
		return h, err
	}
	if !a.out.Scan() {
		return h, fmt.Errorf("an audience has ended")
	}
	return h, json.Unmarshal(a.out.Bytes(), &h)
}

func (a *audience) close() {
	_ = a.in.Close() // it ends then
	_ = a.cmd.Wait()
}

// largeGroup is a community whose members are all online, on three nodes, and
// one of whom writes a message a second.
func largeGroup(ctx context.Context, o options) ([]string, error) {
	const seconds = 10
	c, err := newCluster(ctx, o.binary, 3)
	if err != nil {
		return nil, err
	}
	defer c.close(o.keep)
	log.Printf("%s: %d members …", audienceName, o.members)
	group, err := c.foundCommunity(o.members)
	if err != nil {
		return nil, err
	}
	var crowd []*audience
	defer func() {
		for _, a := range crowd {
			a.close()
		}
	}()
	begin := time.Now()
	for i, n := range c.nodes {
		a, err := startAudience(n, fmt.Sprintf("m%d-", i), o.members/len(c.nodes))
		if err != nil {
			return nil, err
		}
		crowd = append(crowd, a)
	}
	for _, a := range crowd {
		if err := a.awaitOpen(); err != nil {
			return nil, err
		}
	}
	log.Printf("%d devices logged in within %s", o.members, time.Since(begin).Round(time.Second))
	s, err := newBystanders(c.nodes)
	if err != nil {
		return nil, err
	}
	defer s.close()
	sleep(ctx, 3*time.Second)
	before := s.watch(ctx, 10*time.Second)
	for _, a := range crowd { // what came so far does not count
		if _, err := a.report(); err != nil {
			return nil, err
		}
	}
	speaker := s.devices[0]
	go func() {
		for i := int64(1); i <= seconds && ctx.Err() == nil; i++ {
			speaker.Send("million_group_open_http_svc.send_group_msg", loadgen.Group(nil, speaker.User, group, i, i, time.Now().UnixNano(), i, 80), 0, func(r loadgen.Reply) {
				if r.Code != 0 {
					log.Printf("a message to the group: code %d", r.Code)
				}
			})
			sleep(ctx, time.Second)
		}
	}()
	during := s.watch(ctx, seconds*time.Second)
	sleep(ctx, 10*time.Second)
	var total int64
	var p50, p99, last float64
	for _, a := range crowd {
		h, err := a.report()
		if err != nil {
			return nil, err
		}
		total, p50, p99, last = total+h.Deliveries, max(p50, h.P50), max(p99, h.P99), max(last, h.Last)
	}
	members := o.members / len(c.nodes) * len(c.nodes)
	return []string{fmt.Sprintf("%s: %d members on 3 nodes, a message a second", audienceName, members), before.latency(), during.latency(),
		fmt.Sprint(before.failed + during.failed),
		fmt.Sprintf("%d of %d deliveries; %.0f ms p50, %.0f ms p99, %.0f ms the last", total, seconds*members, p50, p99, last)}, nil
}

// foundCommunity imports the members and makes the community, by REST.
func (c *cluster) foundCommunity(members int) (group string, err error) {
	const owner, batch = "bystander0", 100
	names := []string{owner}
	for i := range c.nodes {
		for k := range members / len(c.nodes) {
			names = append(names, fmt.Sprintf("m%d-%d", i, k))
		}
	}
	for part := names; len(part) > 0; part = part[min(len(part), batch):] {
		accounts := `["` + strings.Join(part[:min(len(part), batch)], `","`) + `"]`
		if _, err := c.rest("im_open_login_svc/multiaccount_import", `{"Accounts":`+accounts+`}`); err != nil {
			return "", err
		}
	}
	doc, err := c.rest("group_open_http_svc/create_group", fmt.Sprintf(`{"Owner_Account":%q,"Type":"Community","Name":"audience","SupportTopic":0}`, owner))
	if err != nil {
		return "", err
	}
	group = loadgen.Member(doc, `"GroupId":"`)
	for part := names[1:]; len(part) > 0; part = part[min(len(part), batch):] {
		list := `[{"Member_Account":"` + strings.Join(part[:min(len(part), batch)], `"},{"Member_Account":"`) + `"}]`
		if _, err := c.rest("group_open_http_svc/add_group_member", fmt.Sprintf(`{"GroupId":%q,"Silence":1,"MemberList":%s}`, group, list)); err != nil {
			return "", err
		}
	}
	return group, nil
}

// rest calls the first node as the administrator.
func (c *cluster) rest(command, body string) ([]byte, error) {
	target := c.nodes[0].target()
	ticket, err := target.Ticket("administrator")
	if err != nil {
		return nil, err
	}
	q := url.Values{"sdkappid": {fmt.Sprint(appID)}, "identifier": {"administrator"}, "usersig": {ticket}, "random": {"1"}, "contenttype": {"json"}}
	res, err := http.Post(strings.TrimSuffix(c.nodes[0].readiness, "/readyz")+"/v4/"+command+"?"+q.Encode(), "application/json", bytes.NewBufferString(body))
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	doc, err := io.ReadAll(res.Body)
	if err == nil && loadgen.Digits(doc, `"ErrorCode":`) != "0" {
		err = fmt.Errorf("%s: %.300s", command, doc)
	}
	return doc, err
}
