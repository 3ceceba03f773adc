// The DNS client of a wine prefix, which has none: a service that takes SERVICE_CONTROL_PARAMCHANGE and does nothing.
//   x86_64-w64-mingw32-gcc -Wall -o dnscache.exe dnscache.c && wine sc create Dnscache binPath= C:\dnscache.exe && wine sc start Dnscache
#include <windows.h>

static SERVICE_STATUS_HANDLE handle;
static SERVICE_STATUS status = {SERVICE_WIN32_OWN_PROCESS, SERVICE_RUNNING, SERVICE_ACCEPT_STOP | SERVICE_ACCEPT_PARAMCHANGE};

static DWORD WINAPI control(DWORD code, DWORD type, void *data, void *context) {
	if (code == SERVICE_CONTROL_STOP)
		status.dwCurrentState = SERVICE_STOPPED;
	SetServiceStatus(handle, &status);
	return NO_ERROR;
}

static void WINAPI run(DWORD argc, WCHAR **argv) {
	handle = RegisterServiceCtrlHandlerExW(L"Dnscache", control, NULL);
	SetServiceStatus(handle, &status);
}

int main(void) {
	SERVICE_TABLE_ENTRYW table[] = {{L"Dnscache", run}, {NULL, NULL}};
	return !StartServiceCtrlDispatcherW(table);
}
