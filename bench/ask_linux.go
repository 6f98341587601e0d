package bench

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// The first argument of a program that shall be one end of a dialogue between services: see Serve. Each end is a process of its own, because inside one
// process a scheduler that is awake already would serve both.
const (
	EchoCommand = "echo" // ADDRESS: answer UDP and TCP there
	AskCommand  = "ask"  // udp|tcp ADDRESS:PORT FLOWS DURATION: send requests and print an Answers
)

const (
	// askTimeout is when a request that got no answer counts as lost.
	askTimeout = 200 * time.Millisecond
	// streamTimeout is the same on a stream, where nothing gets lost: it leaves TCP the time to send again (200 ms and more).
	streamTimeout = 5 * time.Second
)

var errAsk = errors.New("round trips")

// Answers is what a dialogue came to.
type Answers struct {
	P50, P99       float64 // microseconds
	Answered, Lost int
}

// IsService says whether the arguments of the program, without its name, are for Serve.
func IsService(args []string) bool {
	return len(args) == 2 && args[0] == EchoCommand || len(args) == 5 && args[0] == AskCommand
}

// Serve is one end of a dialogue, as most services are written: sockets that never block, whose owner sleeps in epoll_wait until the kernel says that there is something
// to read. Package net works so. The end that answers does it until it is killed.
func Serve(args []string, out io.Writer) error {
	if args[0] == EchoCommand {
		return echo(args[1], out)
	}
	flows, err := strconv.Atoi(args[3])
	if err != nil {
		return err
	}
	d, err := time.ParseDuration(args[4])
	if err != nil {
		return err
	}
	answers, err := ask(args[1], args[2], flows, d)
	if err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(answers)
}

// echo answers datagrams, and 64 bytes at a time on connections, at one port for both, which it prints first.
func echo(address string, out io.Writer) error {
	packets, err := net.ListenPacket("udp", net.JoinHostPort(address, "0"))
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", packets.LocalAddr().String())
	if err != nil {
		return err
	}
	fmt.Fprintln(out, packets.LocalAddr())
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				for buf := make([]byte, loadPayload); ; {
					if _, err := io.ReadFull(conn, buf); err != nil {
						return
					}
					if _, err := conn.Write(buf); err != nil {
						return
					}
				}
			}()
		}
	}()
	buf := make([]byte, 2048)
	for {
		n, peer, err := packets.ReadFrom(buf)
		if err != nil {
			return err
		}
		_, _ = packets.WriteTo(buf[:n], peer) // a lost answer is counted by who waits for it
	}
}

// ask keeps one request of 64 bytes in flight on each of so many sockets, for d.
func ask(network, address string, flows int, d time.Duration) (Answers, error) {
	conns := make([]net.Conn, flows)
	for i := range conns {
		var err error
		if conns[i], err = net.Dial(network, address); err != nil {
			return Answers{}, err
		}
		defer conns[i].Close()
	}
	micros, lost, errs := make([][]float64, flows), make([]int, flows), make([]error, flows)
	var all sync.WaitGroup
	end := time.Now().Add(d)
	for i, conn := range conns {
		all.Go(func() { micros[i], lost[i], errs[i] = dialogue(conn, network == "tcp", end) })
	}
	all.Wait()
	times := slices.Concat(micros...)
	slices.Sort(times)
	a := Answers{Answered: len(times)}
	for _, n := range lost {
		a.Lost += n
	}
	if err := errors.Join(errs...); err != nil {
		return a, err
	}
	if a.Answered == 0 {
		return a, fmt.Errorf("%w: no answer from %s", errAsk, address)
	}
	a.P50, a.P99 = Percentile(times, 0.50), Percentile(times, 0.99)
	return a, nil
}

// dialogue sends a request, waits for its echo, and begins again. On a stream nothing can be lost: no answer is an error there.
func dialogue(conn net.Conn, stream bool, end time.Time) (micros []float64, lost int, err error) {
	timeout := askTimeout
	if stream {
		timeout = streamTimeout
	}
	request, answer := make([]byte, loadPayload), make([]byte, loadPayload)
	for number := uint64(1); ; number++ {
		sent := time.Now()
		if sent.After(end) {
			return micros, lost, nil
		}
		binary.BigEndian.PutUint64(request, number)
		if err := conn.SetReadDeadline(sent.Add(timeout)); err != nil {
			return micros, lost, err
		}
		if _, err := conn.Write(request); err != nil {
			return micros, lost, fmt.Errorf("request: %w", err)
		}
		for {
			if stream {
				_, err = io.ReadFull(conn, answer)
			} else {
				_, err = conn.Read(answer)
			}
			if err != nil && (stream || !errors.Is(err, os.ErrDeadlineExceeded)) {
				return micros, lost, fmt.Errorf("answer: %w", err)
			}
			if err != nil {
				lost++
				break
			}
			if binary.BigEndian.Uint64(answer) == number {
				micros = append(micros, float64(time.Since(sent).Nanoseconds())/1e3)
				break
			}
		}
	}
}

// Dialogue is requests and answers between services at two sites.
type Dialogue struct {
	Network string // udp or tcp
	Flows   int    // requests in flight, each on a socket of its own
	Place   Placement
}

// Placement is where the hosts of a dialogue run, with all that belongs to them. To wake a thread of another CPU takes longer than all the rest of a round trip, and
// the scheduler leaves two ends that talk to each other now on one CPU and now on two.
type Placement int

const (
	Anywhere Placement = iota // where the scheduler puts them: it is luck what is measured
	Together                  // all on one CPU: what a round trip costs
	Apart                     // each host on a CPU of its own, as two machines have
)

// cpus are those of the one and the other host, counted from 0, or nothing.
func (p Placement) cpus() []int {
	switch p {
	case Together:
		return []int{0, 0}
	case Apart:
		return []int{0, 1}
	}
	return nil
}

// Ask measures a dialogue for d. This program, started anew, is both ends.
func (g Dialogue) Ask(from, to Site, d time.Duration) (a Answers, err error) {
	for i, cpu := range g.Place.cpus() {
		for _, h := range []Site{from, to}[i].hosts() {
			defer func() { err = errors.Join(err, h.Unpin()) }()
			if err := h.Pin(cpu); err != nil {
				return a, err
			}
		}
	}
	self, err := os.Executable()
	if err != nil {
		return a, err
	}
	echo, err := to.Host.Start(self, EchoCommand, to.Addr.String())
	if err != nil {
		return a, err
	}
	defer echo.Stop()
	for end := time.Now().Add(startTimeout); !strings.HasSuffix(echo.Output(), "\n"); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			return a, fmt.Errorf("%w: echo does not start: %s", errAsk, echo.Output())
		}
	}
	far, err := netip.ParseAddrPort(strings.TrimSpace(echo.Output()))
	if err != nil {
		return a, fmt.Errorf("%w: echo: %w", errAsk, err)
	}
	said, err := from.Host.Command(self, AskCommand, g.Network, far.String(), strconv.Itoa(g.Flows), d.String())
	if err != nil {
		return a, fmt.Errorf("%w: %w", errAsk, err)
	}
	if err := json.Unmarshal([]byte(said), &a); err != nil {
		return a, fmt.Errorf("%w: %w", errAsk, err)
	}
	return a, nil
}
