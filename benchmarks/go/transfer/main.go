// A contender: io.Copy between the two descriptors it is handed. The orders and answers are those of worker.py.
// The first argument says what is put around the source: "copy" nothing, "wrapped" a reader that counts, "limited" an
// io.LimitedReader.
package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// An end as a Go program has it: a *net.TCPConn, a *net.UnixConn or an *os.File.
func end(kind string, fd int) (io.ReadWriteCloser, error) {
	if kind == "pipe" {
		syscall.SetNonblock(fd, true)
	}
	file := os.NewFile(uintptr(fd), kind)
	if kind != "tcp" && kind != "unix" {
		return file, nil
	}
	defer file.Close()
	return net.FileConn(file)
}

type counting struct {
	below io.Reader
	count int64
}

func (c *counting) Read(into []byte) (int, error) {
	n, err := c.below.Read(into)
	c.count += int64(n)
	return n, err
}

func around(how string, src io.Reader) io.Reader {
	switch how {
	case "wrapped":
		return &counting{below: src}
	case "limited":
		return io.LimitReader(src, 1<<62)
	}
	return src
}

func cpu() time.Duration {
	var use syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &use)
	return time.Duration(use.Utime.Nano() + use.Stime.Nano())
}

func copied(kinds []string, fds []int) string {
	src, err := end(kinds[0], fds[0])
	if err != nil {
		return failure(err)
	}
	defer src.Close()
	dst, err := end(kinds[1], fds[1])
	if err != nil {
		return failure(err)
	}
	defer dst.Close()
	from := around(os.Args[1], src)
	used, begun := cpu(), time.Now()
	moved, err := io.Copy(dst, from)
	wall, spent := time.Since(begun), cpu()-used
	if err != nil {
		return failure(err)
	}
	return fmt.Sprintf("[%d, %g, %g]", moved, wall.Seconds(), spent.Seconds())
}

func failure(err error) string {
	return fmt.Sprintf(`{"error": %s}`, strconv.Quote(err.Error()))
}

func main() {
	orders, err := strconv.Atoi(os.Args[len(os.Args)-1])
	if err != nil {
		panic(err)
	}
	data, control := make([]byte, 1024), make([]byte, syscall.CmsgSpace(4*4))
	for {
		n, c, _, _, err := syscall.Recvmsg(orders, data, control, 0)
		if err == syscall.EINTR {
			continue
		}
		if err != nil || n == 0 {
			return
		}
		messages, _ := syscall.ParseSocketControlMessage(control[:c])
		fds, _ := syscall.ParseUnixRights(&messages[0])
		syscall.Write(orders, []byte(copied(strings.Fields(string(data[:n])), fds)))
	}
}
