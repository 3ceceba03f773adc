// A stand-in for wintun.dll, for tests under wine, which has no such driver: adapters of iphlpapi.c. Nobody sends by them but the
// stand-in itself: an echo request each second to the address that WINTUN_PING names, if any, from the adapter's first one. What comes out of
// the tunnel is written to the file that WINTUN_LOG names, a line for each packet.
//   x86_64-w64-mingw32-gcc -Wall -shared -o wintun.dll wintun.c libstandin.a -lws2_32
#include <winsock2.h>
#include <ws2tcpip.h>
#include <windows.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define API __declspec(dllexport)
__declspec(dllimport) UINT64 StandInAdd(const WCHAR *name, const WCHAR *kind, const GUID *guid);
__declspec(dllimport) void StandInRemove(UINT64 luid);
__declspec(dllimport) BOOL StandInAddress(UINT64 luid, BYTE address[4]);

typedef struct {
	UINT64 luid;
	HANDLE ready, end, pinger;
	volatile LONG due;
	UINT16 sequence;
} adapter;

API adapter *WINAPI WintunCreateAdapter(const WCHAR *name, const WCHAR *kind, const GUID *guid) {
	adapter *a = calloc(1, sizeof *a);
	a->luid = StandInAdd(name, kind, guid);
	return a;
}
API adapter *WINAPI WintunOpenAdapter(const WCHAR *name) { SetLastError(ERROR_NOT_FOUND); return NULL; }
API void WINAPI WintunCloseAdapter(adapter *a) { StandInRemove(a->luid); free(a); }
API BOOL WINAPI WintunDeleteDriver(void) { return TRUE; }
API void WINAPI WintunGetAdapterLUID(adapter *a, UINT64 *luid) { *luid = a->luid; }
API DWORD WINAPI WintunGetRunningDriverVersion(void) { return 14; }
API void WINAPI WintunSetLogger(void *f) {}

static DWORD WINAPI ping(void *p) {
	adapter *a = p;
	while (WaitForSingleObject(a->end, 1000) == WAIT_TIMEOUT) {
		a->due = 1;
		SetEvent(a->ready);
	}
	return 0;
}

API adapter *WINAPI WintunStartSession(adapter *a, DWORD size) {
	a->ready = CreateEventW(NULL, FALSE, FALSE, NULL);
	a->end = CreateEventW(NULL, TRUE, FALSE, NULL);
	a->pinger = getenv("WINTUN_PING") ? CreateThread(NULL, 0, ping, a, 0, NULL) : NULL;
	return a;
}
API void WINAPI WintunEndSession(adapter *a) {
	SetEvent(a->end);
	if (a->pinger) {
		WaitForSingleObject(a->pinger, INFINITE);
		CloseHandle(a->pinger);
	}
	CloseHandle(a->end);
	CloseHandle(a->ready);
}
API HANDLE WINAPI WintunGetReadWaitEvent(adapter *a) { return a->ready; }

static UINT16 sum(const BYTE *p, int n) {
	UINT32 s = 0;
	for (int i = 0; i < n; i += 2)
		s += p[i] << 8 | p[i + 1];
	while (s >> 16)
		s = (s & 0xffff) + (s >> 16);
	return ~s;
}

API BYTE *WINAPI WintunReceivePacket(adapter *a, DWORD *size) {
	BYTE from[4];
	if (!InterlockedExchange(&a->due, 0) || !StandInAddress(a->luid, from)) {
		SetLastError(ERROR_NO_MORE_ITEMS);
		return NULL;
	}
	BYTE *p = calloc(1, *size = 84);
	a->sequence++;
	memcpy(p, (BYTE[]){0x45, 0, 0, 84, 0, 0, 0, 0, 64, 1}, 10);
	memcpy(p + 12, from, 4);
	inet_pton(AF_INET, getenv("WINTUN_PING"), p + 16);
	UINT16 head = sum(p, 20);
	p[10] = head >> 8, p[11] = head;
	memcpy(p + 20, (BYTE[]){8, 0, 0, 0, 0x12, 0x34, a->sequence >> 8, a->sequence}, 8);
	UINT16 body = sum(p + 20, 64);
	p[22] = body >> 8, p[23] = body;
	return p;
}
API void WINAPI WintunReleaseReceivePacket(adapter *a, const BYTE *p) { free((BYTE *)p); }
API BYTE *WINAPI WintunAllocateSendPacket(adapter *a, DWORD size) {
	DWORD *p = malloc(sizeof size + size);
	*p = size;
	return (BYTE *)(p + 1);
}
API void WINAPI WintunSendPacket(adapter *a, const BYTE *p) {
	char *name = getenv("WINTUN_LOG");
	FILE *f = name ? fopen(name, "ab") : NULL;
	if (f && p[0] >> 4 == 4 && p[9] == 1)
		fprintf(f, "ICMP type %u from %u.%u.%u.%u, sequence %u, sum %s\n", p[20], p[12], p[13], p[14], p[15], p[26] << 8 | p[27],
		        sum(p + 20, ((DWORD *)p)[-1] - 20) == 0 ? "right" : "wrong");
	else if (f)
		fprintf(f, "packet of %u bytes, version %d\n", (unsigned)((DWORD *)p)[-1], p[0] >> 4);
	if (f)
		fclose(f);
	free((DWORD *)p - 1);
}
