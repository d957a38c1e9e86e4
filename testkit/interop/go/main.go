// go-zookeeper against a server: it connects with the handshake of ZooKeeper 3.3, which carries no read-only flag.
//
// Prints `ok NAME` or `FAIL NAME: REASON` per check; lines that start with `@` ask the harness to do something to
// the server and wait for its answer.
package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-zookeeper/zk"
)

var (
	hosts   = strings.Split(os.Args[2], ",")
	answers = bufio.NewReader(os.Stdin)
	serial  atomic.Int64
	opened  []*zk.Conn
)

type quiet struct{}

func (quiet) Printf(string, ...any) {}

// must ends the check with a failure; the runner catches it.
func must(err error) {
	if err != nil {
		panic(err)
	}
}

func that(condition bool, otherwise string, arguments ...any) {
	if !condition {
		panic(fmt.Errorf(otherwise, arguments...))
	}
}

func fails(wanted, got error) {
	that(errors.Is(got, wanted), "expected %v, got %v", wanted, got)
}

func eventually(what string, condition func() bool) {
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if condition() {
			return
		}
	}
	panic(fmt.Errorf("not within 20 s: %s", what))
}

func ask(wish string) {
	fmt.Println("@" + wish)
	answer, err := answers.ReadString('\n')
	must(err)
	that(strings.TrimSpace(answer) == "done", "the harness answered %q", answer)
}

func fresh() string {
	return fmt.Sprintf("/go-%d-%d", os.Getpid(), serial.Add(1))
}

// client connects and waits for its session; the events of the session follow on the channel.
func client(timeout time.Duration) (*zk.Conn, <-chan zk.Event) {
	connection, events, err := zk.Connect(hosts, timeout, zk.WithLogger(quiet{}))
	must(err)
	opened = append(opened, connection)
	awaitState(events, zk.StateHasSession)
	return connection, events
}

func awaitState(events <-chan zk.Event, state zk.State) {
	deadline := time.After(20 * time.Second)
	for {
		select {
		case event := <-events:
			if event.State == state {
				return
			}
		case <-deadline:
			panic(fmt.Errorf("not within 20 s: state %v", state))
		}
	}
}

func awaitEvent(events <-chan zk.Event, kind zk.EventType, path string) {
	select {
	case event := <-events:
		that(event.Type == kind && event.Path == path, "expected %v of %s, got %+v", kind, path, event)
	case <-time.After(15 * time.Second):
		panic(fmt.Errorf("no event %v of %s within 15 s", kind, path))
	}
}

// Flags of create requests; the client's own names for them differ between its versions.
const (
	containerFlag = 4
	ttlFlag       = 5
)

var open = zk.WorldACL(zk.PermAll)

func createReadChangeDelete() {
	c, _ := client(10 * time.Second)
	path := fresh()
	name, err := c.Create(path, []byte("one"), 0, open)
	must(err)
	that(name == path, "created %s", name)
	data, stat, err := c.Get(path)
	must(err)
	that(string(data) == "one" && stat.Version == 0 && stat.DataLength == 3, "%s %+v", data, stat)
	that(stat.Czxid == stat.Mzxid && stat.Pzxid == stat.Czxid, "%+v", stat)
	stat, err = c.Set(path, []byte("three"), 0)
	must(err)
	that(stat.Version == 1 && stat.DataLength == 5, "%+v", stat)
	_, err = c.Set(path, nil, 0)
	fails(zk.ErrBadVersion, err)
	_, err = c.Create(path, nil, 0, open)
	fails(zk.ErrNodeExists, err)
	_, err = c.Create(path+"/a/b", nil, 0, open)
	fails(zk.ErrNoNode, err)
	_, err = c.Create(path+"/a", nil, 0, open)
	must(err)
	fails(zk.ErrNotEmpty, c.Delete(path, -1))
	must(c.Delete(path+"/a", -1))
	fails(zk.ErrBadVersion, c.Delete(path, 7))
	must(c.Delete(path, 1))
	found, _, err := c.Exists(path)
	must(err)
	that(!found, "the node is still there")
	_, _, err = c.Get(path)
	fails(zk.ErrNoNode, err)
}

func childrenAndSequences() {
	c, _ := client(10 * time.Second)
	path := fresh()
	_, err := c.Create(path, nil, 0, open)
	must(err)
	for _, wanted := range []string{"s-0000000000", "s-0000000001"} {
		name, err := c.Create(path+"/s-", nil, zk.FlagSequence, open)
		must(err)
		that(name == path+"/"+wanted, "created %s", name)
	}
	names, stat, err := c.Children(path)
	must(err)
	sort.Strings(names)
	that(strings.Join(names, " ") == "s-0000000000 s-0000000001", "%v", names)
	that(stat.Cversion == 2 && stat.NumChildren == 2, "%+v", stat)
}

func ephemeralsGoWithTheirSession() {
	c, _ := client(10 * time.Second)
	other, _ := client(10 * time.Second)
	path := fresh()
	_, err := c.Create(path, nil, zk.FlagEphemeral, open)
	must(err)
	_, stat, events, err := other.ExistsW(path)
	must(err)
	that(stat.EphemeralOwner == c.SessionID(), "%+v", stat)
	_, err = c.Create(path+"/x", nil, 0, open)
	fails(zk.ErrNoChildrenForEphemerals, err)
	c.Close()
	awaitEvent(events, zk.EventNodeDeleted, path)
}

func containersAndTtlNodes() {
	c, _ := client(10 * time.Second)
	path := fresh()
	_, err := c.CreateContainer(path, nil, containerFlag, open)
	must(err)
	_, err = c.Create(path+"/x", nil, 0, open)
	must(err)
	must(c.Delete(path+"/x", -1))
	eventually("the empty container is gone", func() bool {
		found, _, err := c.Exists(path)
		must(err)
		return !found
	})
	name, err := c.CreateTTL(path, nil, ttlFlag, open, 500*time.Millisecond)
	must(err)
	that(name == path, "created %s", name)
	eventually("the old node is gone", func() bool {
		found, _, err := c.Exists(path)
		must(err)
		return !found
	})
}

func multiCommitsOrFailsWhole() {
	c, _ := client(10 * time.Second)
	path := fresh()
	results, err := c.Multi(
		&zk.CreateRequest{Path: path, Data: []byte("x"), Acl: open},
		&zk.SetDataRequest{Path: path, Data: []byte("y"), Version: 0},
		&zk.CheckVersionRequest{Path: path, Version: 1},
		&zk.CreateRequest{Path: path + "/a", Acl: open},
		&zk.DeleteRequest{Path: path + "/a", Version: -1},
	)
	must(err)
	that(len(results) == 5 && results[0].String == path && results[1].Stat.Version == 1, "%+v", results)
	results, err = c.Multi(
		&zk.CreateRequest{Path: path + "/b", Acl: open},
		&zk.CheckVersionRequest{Path: path, Version: 9},
	)
	fails(zk.ErrBadVersion, err)
	found, _, err := c.Exists(path + "/b")
	must(err)
	that(!found, "half of a failed multi was applied")
}

func watches() {
	c, _ := client(10 * time.Second)
	writer, _ := client(10 * time.Second)
	path := fresh()
	found, _, created, err := c.ExistsW(path)
	must(err)
	that(!found, "the node is there already")
	_, err = writer.Create(path, nil, 0, open)
	must(err)
	awaitEvent(created, zk.EventNodeCreated, path)
	_, _, changed, err := c.GetW(path)
	must(err)
	_, _, children, err := c.ChildrenW(path)
	must(err)
	_, err = writer.Set(path, []byte("x"), -1)
	must(err)
	awaitEvent(changed, zk.EventNodeDataChanged, path)
	_, err = writer.Create(path+"/a", nil, 0, open)
	must(err)
	awaitEvent(children, zk.EventNodeChildrenChanged, path)
}

func digestAccess() {
	owner, _ := client(10 * time.Second)
	stranger, _ := client(10 * time.Second)
	path := fresh()
	must(owner.AddAuth("digest", []byte("jack:pass")))
	_, err := owner.Create(path, []byte("x"), 0, zk.DigestACL(zk.PermAll, "jack", "pass"))
	must(err)
	_, _, err = stranger.Get(path)
	fails(zk.ErrNoAuth, err)
	acl, stat, err := owner.GetACL(path)
	must(err)
	that(len(acl) == 1 && acl[0].Scheme == "digest" && stat.Aversion == 0, "%+v %+v", acl, stat)
	stat, err = owner.SetACL(path, append(acl, zk.WorldACL(zk.PermRead)...), 0)
	must(err)
	that(stat.Aversion == 1, "%+v", stat)
	_, _, err = stranger.Get(path)
	must(err)
	_, err = owner.Create(fresh(), nil, 0, nil)
	fails(zk.ErrInvalidACL, err)
}

func locksExclude() {
	path := fresh()
	var inside, most, rounds atomic.Int64
	var group sync.WaitGroup
	problems := make(chan error, 4)
	for range 4 {
		c, _ := client(10 * time.Second)
		group.Add(1)
		go func() {
			defer group.Done()
			for range 10 {
				lock := zk.NewLock(c, path, open)
				if err := lock.Lock(); err != nil {
					problems <- err
					return
				}
				if now := inside.Add(1); now > most.Load() {
					most.Store(now)
				}
				rounds.Add(1)
				inside.Add(-1)
				if err := lock.Unlock(); err != nil {
					problems <- err
					return
				}
			}
		}()
	}
	group.Wait()
	close(problems)
	for problem := range problems {
		must(problem)
	}
	that(rounds.Load() == 40 && most.Load() == 1, "%d rounds, %d inside", rounds.Load(), most.Load())
}

func manyRequestsAtOnce() {
	c, _ := client(10 * time.Second)
	path := fresh()
	_, err := c.Create(path, nil, 0, open)
	must(err)
	var group sync.WaitGroup
	var wrong atomic.Int64
	for number := range 500 {
		group.Add(1)
		go func() {
			defer group.Done()
			name := fmt.Sprintf("%s/%04d", path, number)
			data := bytes.Repeat([]byte{byte(number)}, 100)
			if _, err := c.Create(name, data, 0, open); err != nil {
				wrong.Add(1)
			} else if got, _, err := c.Get(name); err != nil || !bytes.Equal(got, data) {
				wrong.Add(1)
			}
		}()
	}
	group.Wait()
	that(wrong.Load() == 0, "%d of 500 went wrong", wrong.Load())
	names, _, err := c.Children(path)
	must(err)
	that(len(names) == 500, "%d children", len(names))
}

func syncEchoesThePath() {
	c, _ := client(10 * time.Second)
	path, err := c.Sync("/")
	must(err)
	that(path == "/", "%s", path)
}

func sessionSurvivesAKill() {
	c, events := client(20 * time.Second)
	path := fresh()
	_, err := c.Create(path, []byte("kept"), 0, open)
	must(err)
	_, err = c.Create(path+"/e", nil, zk.FlagEphemeral, open)
	must(err)
	_, _, changed, err := c.GetW(path)
	must(err)
	session := c.SessionID()
	ask("kill")
	awaitState(events, zk.StateHasSession)
	that(c.SessionID() == session, "another session")
	found, _, err := c.Exists(path + "/e")
	must(err)
	that(found, "the ephemeral is gone")
	_, err = c.Set(path, []byte("after"), -1)
	must(err)
	awaitEvent(changed, zk.EventNodeDataChanged, path)
}

// wire is a dialer whose connections can be cut, and which finds nobody while it is down.
type wire struct {
	lock sync.Mutex
	down bool
	last net.Conn
}

func (w *wire) dial(network, address string, timeout time.Duration) (net.Conn, error) {
	w.lock.Lock()
	defer w.lock.Unlock()
	if w.down {
		return nil, errors.New("the wire is cut")
	}
	connection, err := net.DialTimeout(network, address, timeout)
	w.last = connection
	return connection, err
}

func (w *wire) set(down bool) {
	w.lock.Lock()
	defer w.lock.Unlock()
	w.down = down
	if down && w.last != nil {
		w.last.Close()
	}
}

func expiryIsTold() {
	other, _ := client(10 * time.Second)
	var link wire
	c, events, err := zk.Connect(hosts, time.Second, zk.WithLogger(quiet{}), zk.WithDialer(link.dial))
	must(err)
	opened = append(opened, c)
	awaitState(events, zk.StateHasSession)
	session := c.SessionID()
	path := fresh()
	_, err = c.Create(path, nil, zk.FlagEphemeral, open)
	must(err)
	_, _, gone, err := other.ExistsW(path)
	must(err)
	link.set(true)
	awaitEvent(gone, zk.EventNodeDeleted, path)
	link.set(false)
	awaitState(events, zk.StateExpired)
	awaitState(events, zk.StateHasSession)
	that(c.SessionID() != session, "the old session came back")
}

func missedChangesAreTold() {
	writer, _ := client(10 * time.Second)
	var link wire
	c, events, err := zk.Connect(hosts, 20*time.Second, zk.WithLogger(quiet{}), zk.WithDialer(link.dial))
	must(err)
	opened = append(opened, c)
	awaitState(events, zk.StateHasSession)
	path := fresh()
	_, err = writer.Create(path, nil, 0, open)
	must(err)
	_, _, changed, err := c.GetW(path)
	must(err)
	_, _, created, err := c.ExistsW(path + "/new")
	must(err)
	link.set(true)
	_, err = writer.Set(path, []byte("x"), -1)
	must(err)
	_, err = writer.Create(path+"/new", nil, 0, open)
	must(err)
	link.set(false)
	awaitEvent(changed, zk.EventNodeDataChanged, path)
	awaitEvent(created, zk.EventNodeCreated, path+"/new")
}

// golden runs a fixed script whose bytes are recorded on the way.
func golden() {
	c, _ := client(30 * time.Second)
	_, err := c.Create("/golden", []byte("one"), 0, open)
	must(err)
	_, _, err = c.Get("/golden")
	must(err)
	_, err = c.Set("/golden", []byte("two"), 0)
	must(err)
	_, err = c.Set("/golden", nil, 5)
	fails(zk.ErrBadVersion, err)
	_, _, created, err := c.ExistsW("/golden/a")
	must(err)
	_, err = c.Create("/golden/a", nil, zk.FlagEphemeral, open)
	must(err)
	awaitEvent(created, zk.EventNodeCreated, "/golden/a")
	_, err = c.Create("/golden/s-", nil, zk.FlagSequence, open)
	must(err)
	_, _, err = c.Children("/golden")
	must(err)
	_, _, err = c.Exists("/golden/a")
	must(err)
	_, err = c.CreateContainer("/golden/c", nil, containerFlag, open)
	must(err)
	_, err = c.CreateTTL("/golden/t", nil, ttlFlag, open, time.Hour)
	must(err)
	must(c.AddAuth("digest", []byte("jack:pass")))
	_, err = c.Create("/golden/d", nil, 0, zk.DigestACL(zk.PermAll, "jack", "pass"))
	must(err)
	_, _, err = c.GetACL("/golden/d")
	must(err)
	_, err = c.SetACL("/golden/d", open, 0)
	must(err)
	_, err = c.Multi(&zk.CheckVersionRequest{Path: "/golden", Version: 1},
		&zk.SetDataRequest{Path: "/golden", Data: []byte("x"), Version: 1},
		&zk.DeleteRequest{Path: "/golden/d", Version: -1})
	must(err)
	_, err = c.Multi(&zk.DeleteRequest{Path: "/golden/a", Version: -1},
		&zk.CheckVersionRequest{Path: "/golden", Version: 9})
	fails(zk.ErrBadVersion, err)
	_, err = c.Sync("/golden")
	must(err)
	must(c.Delete("/golden/a", -1))
	fails(zk.ErrNoNode, c.Delete("/golden/a", -1))
	fails(zk.ErrNotEmpty, c.Delete("/golden", -1))
	c.Close()
	fmt.Println("@done")
}

func main() {
	if os.Args[1] == "golden" {
		golden()
		return
	}
	checks := []struct {
		name string
		run  func()
	}{
		{"create read change delete", createReadChangeDelete},
		{"children and sequences", childrenAndSequences},
		{"ephemerals go with their session", ephemeralsGoWithTheirSession},
		{"containers and ttl nodes", containersAndTtlNodes},
		{"multi commits or fails whole", multiCommitsOrFailsWhole},
		{"watches", watches},
		{"digest access", digestAccess},
		{"locks exclude", locksExclude},
		{"many requests at once", manyRequestsAtOnce},
		{"sync echoes the path", syncEchoesThePath},
		{"session survives a kill", sessionSurvivesAKill},
		{"expiry is told", expiryIsTold},
		{"missed changes are told", missedChangesAreTold},
	}
	for _, check := range checks {
		func() {
			defer func() {
				if problem := recover(); problem != nil {
					fmt.Printf("FAIL %s: %s\n", check.name, strings.ReplaceAll(fmt.Sprint(problem), "\n", " "))
				} else {
					fmt.Printf("ok %s\n", check.name)
				}
				for _, connection := range opened {
					connection.Close()
				}
				opened = nil
			}()
			check.run()
		}()
	}
	fmt.Println("@done")
}
